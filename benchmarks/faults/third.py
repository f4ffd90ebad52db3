"""The third lot's programs: whole scripts as people write and post them, entered with their kinds."""

from __future__ import annotations

from faults.scripted import script

script("beats_cnn1d", "classes pictures")
script("caesar_transformer", "classes tokens attention")
script("cell_unet", "binary pictures batchnorm")
script("char_lm", "classes tokens recurrent")
script("digit_lsgan", "gan")
script("digit_resnet", "classes pictures batchnorm")
script("digit_vae", "copies")
script("dose_policy", "reinforcement")
script("forum_gcn", "classes graph")
script("hub_finetune", "classes pictures batchnorm transfer")
script("load_lstm", "numbers recurrent")
script("maze_dqn", "reinforcement")
script("question_tags", "binary tokens")
script("rent_embeddings", "numbers batchnorm")
script("review_cnn", "classes tokens")
script("siamese_digits", "pairs pictures")
script("sorter_seq2seq", "classes tokens recurrent")
script("student_distil", "classes")
script("valve_gru", "classes recurrent")
script("yield_spread", "numbers")
