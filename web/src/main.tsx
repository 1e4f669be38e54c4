// Starts the page.

import { render } from "preact";
import { startPreferences } from "./app/preferences";
import { startRoute } from "./app/route";
import { start, storage } from "./app/session";
import { startWorker } from "./app/worker";
import { App } from "./ui/App";
import { startDemo } from "./ui/demo/key";
import "./ui/styles/index.css";

startPreferences(storage());
startRoute();
startDemo();
const root = document.getElementById("app");
if (root) render(<App />, root);
void start();
startWorker();
