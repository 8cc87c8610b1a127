"""One module per Lambda function, named after what it does."""
