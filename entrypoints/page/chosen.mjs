// What the user chose or dropped: files, and the paths that they will have in the dataset.

// What systems leave behind in folders, and nobody means to send.
const LITTER = new Set([".DS_Store", "Thumbs.db", "desktop.ini"]);

/**
 * Files that were chosen, with the folder that they were in (null for several, or none).
 *
 * `files`: by the paths that they are declared with; `leftOut`: the paths of the system's own files; `unreadable`: of
 * what can't be read; `alike`: of files whose names differ from another's in nothing that the service would see.
 */
class Chosen {
  folder = null;
  files = new Map();
  leftOut = [];
  unreadable = [];
  alike = [];

  add(path, file) {
    if (LITTER.has(path.slice(path.lastIndexOf("/") + 1))) this.leftOut.push(path);
    else if (this.files.has(declared(path))) this.alike.push(path);
    else this.files.set(declared(path), file);
  }
}

/**
 * The path that a file is declared with: as it stands, but in Unicode normalisation form C.
 *
 * The service takes no other form. macOS hands out decomposed names, also those that were typed composed, and a user
 * there can't rename a file to anything else: refusing them would refuse everybody whose language has an accent.
 */
export const declared = (path) => path.normalize("NFC");

/** The files of an `<input type="file">`: a folder's, if it is one for folders. */
export function fromInput(fileList) {
  const chosen = new Chosen();
  for (const file of fileList) {
    const [folder, ...below] = (file.webkitRelativePath || "").split("/");
    chosen.folder = folder || null;
    chosen.add(below.length > 0 ? below.join("/") : file.name, file);
  }
  return chosen;
}

/** The entries of a drop: to be taken at once, since they are gone when the event is over. */
export function entriesOf(dataTransfer) {
  return Array.from(dataTransfer.items, (item) => item.webkitGetAsEntry()).filter(Boolean);
}

/** The files of dropped entries. One folder alone is the dataset itself; several keep their names in the paths. */
export async function fromEntries(entries) {
  const chosen = new Chosen();
  const [only] = entries;
  if (entries.length === 1 && only.isDirectory) {
    chosen.folder = only.name;
    await walk(only, "", chosen);
  } else {
    for (const entry of entries) await visit(entry, entry.name, chosen);
  }
  return chosen;
}

async function visit(entry, path, chosen) {
  if (entry.isDirectory) return walk(entry, `${path}/`, chosen);
  try {
    chosen.add(path, await new Promise((resolve, reject) => entry.file(resolve, reject)));
  } catch {
    chosen.unreadable.push(path);
  }
}

async function walk(folder, prefix, chosen) {
  const reader = folder.createReader();
  try {
    // It gives a hundred at a time, and none when there are no more.
    for (;;) {
      const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (entries.length === 0) return;
      for (const entry of entries) await visit(entry, `${prefix}${entry.name}`, chosen);
    }
  } catch {
    chosen.unreadable.push(prefix);
  }
}
