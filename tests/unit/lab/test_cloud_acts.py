"""The API of the lab's AWS over HTTP, with a lab that writes down what is done to it."""
