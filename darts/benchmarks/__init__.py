"""Tables of architectures that others have trained, to judge a search without training again."""
