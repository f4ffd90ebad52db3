"""Exit statuses: yes, no, the request or the input is wrong, cannot say, isograd itself failed, interrupted."""

OK = 0
NO = 1
WRONG_REQUEST = 2
CANNOT_SAY = 3
OUR_FAULT = 70
INTERRUPTED = 130
