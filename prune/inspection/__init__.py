"""What an inspector hands in: every crack of a photograph with its length and width."""
