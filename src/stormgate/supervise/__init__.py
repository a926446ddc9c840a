"""Plan -> processes -> evidence -> verdict. The only part that starts other parts."""
