"""Problems to train and evaluate on, built in, from the hub or from files, and the stream of prompts made of them."""
