// The page of one session: it can be printed.

import { onClick, show } from "./page.js";

show("print", true);
onClick("print", () => print());
