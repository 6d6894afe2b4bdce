// A page for paper: its button opens the browser's own dialog.

import { onClick } from "./page.js";

onClick("print", () => print());
