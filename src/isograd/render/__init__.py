"""The pen: records to text, HTML, SVG and figures; strings out, nothing written."""
