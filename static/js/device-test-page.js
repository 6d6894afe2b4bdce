// The pages that hold the test of the devices and nothing else that moves.

import { DeviceTest } from "./device-test.js";

new DeviceTest().start();
