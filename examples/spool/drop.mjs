// Drop a job for each shell command on stdin into a queuectl spool:  node drop.mjs SPOOL < commands
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";

const spool = process.argv[2];
const commands = readFileSync(0, "utf8").split("\n").filter(Boolean);

function sync(path) {
  const descriptor = openSync(path, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}

commands.forEach((command, number) => {
  const name = `node-${process.pid}-${number}.json`;
  const descriptor = openSync(`${spool}/tmp/${name}`, "wx", 0o600);
  writeSync(descriptor, JSON.stringify({ command }));
  closeSync(descriptor);
  sync(`${spool}/tmp/${name}`); // on disk before it has a name that counts
  renameSync(`${spool}/tmp/${name}`, `${spool}/pending/${name}`);
});
sync(`${spool}/pending`);
