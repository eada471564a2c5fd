"""The command line: parse, call, print, exit code. The only room that knows typer, rich and the terminal."""
