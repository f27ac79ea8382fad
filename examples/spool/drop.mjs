// Drop a job for each line of stdin, a shell command, into a queuectl spool:  node drop.mjs SPOOL < commands
// Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses.
import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";

const [spool] = process.argv.slice(2);
if (!spool) {
  console.error("usage: node drop.mjs SPOOL < commands");
  process.exit(2);
}

function sync(descriptor) {
  fsyncSync(descriptor);
  closeSync(descriptor);
}

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readFileSync(0));
for (const command of text.split("\n").filter(Boolean)) {
  const name = `node-${randomUUID()}.json`;
  const descriptor = openSync(`${spool}/tmp/${name}`, "wx", 0o600);
  writeFileSync(descriptor, JSON.stringify({ command }) + "\n");
  sync(descriptor); // on disk before it has a name that counts
  renameSync(`${spool}/tmp/${name}`, `${spool}/pending/${name}`);
}
for (const directory of ["tmp", "pending"]) {
  sync(openSync(`${spool}/${directory}`, "r")); // the names are on disk now, too
}
