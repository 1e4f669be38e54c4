// Signs the person in who has opened the address that `conclave demo` prints.

import { useEffect, useState } from "preact/hooks";
import { config, signIn } from "../../app/session";
import { go } from "../../app/route";
import { Sign } from "../pages/Sign";
import { Control } from "./control";
import { demoKey } from "./key";
import { words } from "./words";

export default function Door() {
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    const control = new Control(config.peek().demo, demoKey.peek());
    control
      .account()
      .then(({ name, password }) => signIn(name, password))
      .then(() => go({ view: "cluster" }, true))
      .catch(() => setFailed(true));
  }, []);
  return failed ? <Sign /> : <main class="starting">{words.signing}</main>;
}
