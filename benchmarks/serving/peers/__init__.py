"""The other ways to serve a model, each as its own documentation has it; they run in the folder of the model."""
