"""The tasks' commands: parse, call one public function, print."""
