"""What builds the artifact, describes it, measures it and runs it on one machine. Nothing here is deployed."""
