"""What networks are made of; they start and behave as PyTorch's, so that published weights fit."""
