import assert from "node:assert/strict";
import test from "node:test";

import { declared, fromEntries, fromInput } from "../../../../entrypoints/page/chosen.mjs";

const PAGE = 100;

// The entries of the File and Directory Entries API, as browsers have them: directories are read page by page.
const fileEntry = (name) => ({ isDirectory: false, name, file: (done) => done({ name }) });
const badEntry = (name) => ({ isDirectory: false, name, file: (_, failed) => failed(new Error("NotReadableError")) });

function folderEntry(name, entries) {
  const createReader = () => {
    let read = 0;
    return { readEntries: (done) => done(entries.slice(read, (read += PAGE))) };
  };
  return { isDirectory: true, name, createReader };
}

const paths = (chosen) => Array.from(chosen.files.keys());

test("one folder is the dataset: paths are relative to it", async () => {
  const data = folderEntry("data", [fileEntry("a.csv"), folderEntry("deep", [fileEntry("b.csv")])]);
  const chosen = await fromEntries([folderEntry("tides", [fileEntry("readme.md"), data, folderEntry("empty", [])])]);

  assert.equal(chosen.folder, "tides");
  assert.deepEqual(paths(chosen), ["readme.md", "data/a.csv", "data/deep/b.csv"]);
  assert.equal(chosen.files.get("data/a.csv").name, "a.csv");
});

test("several folders keep their names", async () => {
  const chosen = await fromEntries([folderEntry("one", [fileEntry("a")]), folderEntry("two", [fileEntry("a")]), fileEntry("b")]);

  assert.equal(chosen.folder, null);
  assert.deepEqual(paths(chosen), ["one/a", "two/a", "b"]);
});

test("a folder is read to its end", async () => {
  const many = Array.from({ length: 2 * PAGE + 1 }, (_, number) => fileEntry(`${number}.csv`));

  assert.equal((await fromEntries([folderEntry("many", many)])).files.size, many.length);
});

test("what can't be read is named, and nothing else is lost", async () => {
  const broken = { isDirectory: true, name: "broken", createReader: () => ({ readEntries: (_, failed) => failed() }) };
  const chosen = await fromEntries([folderEntry("tides", [badEntry("a"), broken, fileEntry("b")])]);

  assert.deepEqual(chosen.unreadable, ["a", "broken/"]);
  assert.deepEqual(paths(chosen), ["b"]);
});

test("files that a system leaves behind are left out, wherever they are", async () => {
  const chosen = await fromEntries([folderEntry("tides", [fileEntry(".DS_Store"), folderEntry("x", [fileEntry("Thumbs.db")])])]);

  assert.deepEqual(chosen.leftOut, [".DS_Store", "x/Thumbs.db"]);
  assert.equal(chosen.files.size, 0);
});

test("a decomposed name is declared composed, and of two that then are alike one is named", async () => {
  const composed = "Gr\u00f6\u00dfe.csv";
  const decomposed = "Gro\u0308\u00dfe.csv";
  const chosen = await fromEntries([fileEntry(decomposed), fileEntry(composed)]);

  assert.equal(declared(decomposed), composed);
  assert.deepEqual(paths(chosen), [composed]);
  assert.deepEqual(chosen.alike, [composed]);
});

test("a chosen folder is as a dropped one", () => {
  const files = ["tides/readme.md", "tides/data/a.csv"].map((path) => ({ name: path.split("/").at(-1), webkitRelativePath: path }));
  const chosen = fromInput(files);

  assert.equal(chosen.folder, "tides");
  assert.deepEqual(paths(chosen), ["readme.md", "data/a.csv"]);
});

test("chosen files have their names", () => {
  const chosen = fromInput([{ name: "a.csv", webkitRelativePath: "" }]);

  assert.equal(chosen.folder, null);
  assert.deepEqual(paths(chosen), ["a.csv"]);
});
