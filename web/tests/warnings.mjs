// A leak of listeners fails the tests, also one of a stand-in: Node only warns of it.

process.on("warning", (warning) => {
  if (warning.name === "MaxListenersExceededWarning") throw warning;
});
