"""What rows are put through before a window detector sees them: nothing, scaling, PCA, an encoder, uncertainty."""
