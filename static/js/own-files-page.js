// Entry of the page of the own files. `#page-data`: filesUrl.

import { OwnFiles } from "./own-files.js";
import { pageData } from "./page.js";

new OwnFiles(pageData().filesUrl).refresh();
