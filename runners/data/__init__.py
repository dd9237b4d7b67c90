"""Data: labelled images from anywhere, brought to the recipe's input, checked before work starts."""
