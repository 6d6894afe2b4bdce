// The page shown while the database is away: asks quietly, and loads the wanted page when it is back.

const ASK_EVERY_MS = 3000;
const SPREAD_MS = 2000;

async function isBack() {
  try {
    return (await fetch("/readyz", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

function askLater() {
  setTimeout(async () => {
    if (await isBack()) location.reload();
    else askLater();
  }, ASK_EVERY_MS + Math.random() * SPREAD_MS);
}

askLater();
