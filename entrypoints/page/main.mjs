// The page: who one is, what is chosen, and what becomes of it.

import { entriesOf, fromEntries, fromInput } from "./chosen.mjs";
import { Hasher } from "./hashing.mjs";
import { Item } from "./items.mjs";
import { readToken, Service } from "./service.mjs";
import { Announcer, figures, outcome, Rate, tally } from "./summary.mjs";
import { Table } from "./table.mjs";
import { Uploads } from "./uploads.mjs";
import { bytes, counted, percent } from "./words.mjs";

const DRAWN_EVERY_MILLISECONDS = 200;
const MANY = 200;
const SIGN_IN_DELAYS = [1, 2];
const IN_ORDER = new Intl.Collator("en", { numeric: true });
const TITLE = document.title;

const page = Object.fromEntries(Array.from(document.querySelectorAll("[id]"), (element) => [element.id, element]));
const announcer = new Announcer(page.announcements);
const hasher = new Hasher();
const table = new Table(page.rows, retryOne);

// Who one is: {service, info, owner}; and what ends an attempt to find out.
let session = null;
let signingIn = new AbortController();
// What is chosen, by path, and on its way since it was started.
let items = new Map();
let uploads = null;
let rate = null;
let ticking = null;
let viewWasChosen = false;

// The token

/** Take a token from the fragment of the page's URL, which no server ever sees, and remove it from there. */
function takeFragment() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  signIn(token);
}

async function signIn(token) {
  const claims = readToken(token.trim());
  if (!claims) {
    showTokenProblem("This isn't a permission token: it should be three long words with dots between them.");
    return;
  }
  showTokenProblem("");
  signingIn.abort();
  const { signal } = (signingIn = new AbortController());
  try {
    const service = new Service(new URL(".", location.href), token.trim());
    const info = await service.info({ signal, delays: SIGN_IN_DELAYS });
    useSession({ service, info, owner: claims.owner }, claims.expires);
  } catch (problem) {
    if (!signal.aborted) showTokenProblem(problem.message);
  }
}

function useSession(next, expires) {
  if (uploads && session.owner !== next.owner) startOver();
  session = next;
  uploads?.use(session.service);
  page.token.value = "";
  page.owner.textContent = session.owner;
  page.expiry.textContent = expires ? ` Your token is good until ${momentText(expires)}.` : "";
  page.choice.hidden = uploads !== null;
  page.datasetField.hidden = !needsDataset();
  page.dataset.required = needsDataset();
  const onwards = uploads ? [page.retryAll, page["progress-title"]] : [page.chooseFolder];
  swap(page.tokenForm, page.identity, onwards.find((element) => element.checkVisibility()));
}

const needsDataset = () => /\{(name|dataset)\}/.test(session.info.store.key_pattern);

function momentText(moment) {
  const isToday = moment.toDateString() === new Date().toDateString();
  return moment.toLocaleString([], isToday ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function showTokenProblem(text) {
  page.tokenProblem.textContent = text;
  page.token.setAttribute("aria-invalid", text !== "");
}

function askForToken() {
  swap(page.identity, page.tokenForm, page.token);
}

// The files

async function choose(choosing) {
  if (!session) {
    showTokenProblem("A token is needed first.");
    return;
  }
  if (uploads?.busy) {
    note({ kind: "mixed", text: "This upload is still under way. Wait until it has ended, or cancel it." });
    return;
  }
  if (uploads) startOver();
  page.chosen.textContent = "Looking into the folder …";
  const chosen = await choosing;
  for (const [path, file] of chosen.files) items.set(path, new Item(path, file));
  items = new Map(Array.from(items).sort(([one], [other]) => IN_ORDER.compare(one, other)));
  page.dataset.value ||= chosen.folder ?? "";
  page.chosen.textContent = describe(chosen);
  page.uploadForm.hidden = items.size === 0;
  page.start.textContent = `Upload ${counted(items.size, "file")}`;
  if (items.size > 0) (needsDataset() && !page.dataset.value ? page.dataset : page.start).focus();
}

const listed = ([first, ...others]) => (others.length > 0 ? `${first} and ${counted(others.length, "other")}` : first);

function describe({ leftOut, unreadable, alike }) {
  let size = 0;
  for (const { file } of items.values()) size += file.size;
  const said = [items.size > 0 ? `${counted(items.size, "file")}, ${bytes(size)}.` : "There are no files in it."];
  if (leftOut.length > 0) said.push(`Left out, since systems make them for themselves: ${listed(leftOut)}.`);
  if (unreadable.length > 0) said.push(`Can't be read: ${listed(unreadable)}.`);
  if (alike.length > 0) said.push(`Left out, since others have the same names: ${listed(alike)}.`);
  return said.join(" ");
}

// The upload

function start() {
  const findability = page.uploadForm.elements.findability.value;
  const dataset = page.dataset.value.trim().normalize("NFC");
  const metadata = { owner: session.owner, findability, ...(needsDataset() && { name: dataset }) };
  uploads = new Uploads({ service: session.service, hasher, info: session.info, metadata, idle: settle });
  const readers = findability === "private" ? "those with permission" : "everybody";
  page.destination.textContent = `${needsDataset() ? `To the dataset ${dataset}` : "To the store"}, for ${readers} to read.`;
  page.choice.hidden = true;
  page.progress.hidden = page.list.hidden = false;
  page.overall.value = 0;
  viewWasChosen = false;
  show(items.size > MANY ? "active" : "all");
  launch(() => uploads.add(Array.from(items.values())));
  page["progress-title"].focus();
  announcer.say(`Uploading ${counted(items.size, "file")}.`);
}

/** Begin something, and look after it until all is settled. */
function launch(action) {
  action();
  rate ??= new Rate();
  ticking ??= setInterval(draw, DRAWN_EVERY_MILLISECONDS);
  page.outcome.hidden = page.retryAll.hidden = page.another.hidden = true;
  page.cancel.hidden = false;
  draw();
}

/** Everything has arrived, or failed. */
function settle() {
  clearInterval(ticking);
  ticking = rate = null;
  const found = tally(Array.from(items.values()));
  note(outcome(found));
  page.another.hidden = false;
  page.retryAll.hidden = found.failed === 0;
  page.retryAll.textContent = found.failed === 1 ? "Retry it" : `Retry all ${found.failed.toLocaleString("en")}`;
  hide(page.cancel, found.failed > 0 ? page.retryAll : page.outcome);
  if (!viewWasChosen) show(found.failed > 0 && items.size > MANY ? "failed" : "all");
  draw();
}

/** Show something important, and have it said. */
function note({ kind, text }) {
  page.outcome.className = `notice ${kind}`;
  page.outcome.textContent = text;
  page.outcome.hidden = false;
  announcer.say(text);
}

function retryOne(item) {
  launch(() => uploads.retry([item]));
  // Its button is gone now.
  (page.rows.querySelector("button") ?? page["list-title"]).focus();
}

function retryAll() {
  hide(page.retryAll, page["progress-title"]);
  launch(() => uploads.retry(Array.from(items.values()).filter(({ group }) => group === "failed")));
}

function startOver() {
  items = new Map();
  uploads = null;
  document.title = TITLE;
  page.dataset.value = page.chosen.textContent = "";
  page.progress.hidden = page.list.hidden = page.uploadForm.hidden = true;
  page.choice.hidden = false;
  page.chooseFolder.focus();
}

// What is to be seen

function draw() {
  const all = Array.from(items.values());
  const found = tally(all);
  const busy = uploads.busy;
  page.overall.value = found.bytes > 0 ? found.arrived / found.bytes : found.done / found.files;
  page.figures.textContent = figures(found, rate?.at(performance.now(), uploads.bytesSent) ?? 0, busy);
  document.title = busy ? `${percent(found.arrived, found.bytes)} % · ${TITLE}` : TITLE;
  for (const [view, count] of Object.entries({ ...found, all: found.files })) {
    const place = page[`${view}Count`];
    if (place) place.textContent = count.toLocaleString("en");
  }
  drawTable(all);
  if (busy) announcer.follow(found);
}

function drawTable(all) {
  const { value: view } = document.querySelector("input[name=view]:checked");
  table.draw(all, view === "all" ? null : view);
  const { first, last, count } = table.extent;
  page.nothing.hidden = count > 0;
  page.pager.hidden = first === 1 && last === count;
  page.extent.textContent = `${first.toLocaleString("en")} to ${last.toLocaleString("en")} of ${count.toLocaleString("en")}`;
  page.previous.disabled = first === 1;
  page.next.disabled = last === count;
}

function show(view) {
  document.querySelector(`input[name=view][value=${view}]`).checked = true;
  table.turn(0);
}

function turn(pages) {
  table.turn(pages);
  draw();
}

/** Hide an element; who had the focus in it finds it again in another one. */
function hide(element, other) {
  const hadFocus = element.contains(document.activeElement);
  element.hidden = true;
  if (hadFocus) other.focus();
}

function swap(element, other, focus) {
  const hadFocus = element.contains(document.activeElement);
  element.hidden = true;
  other.hidden = false;
  if (hadFocus) focus.focus();
}

// What one does

function submitting(action) {
  return (event) => {
    event.preventDefault();
    action();
  };
}

page.tokenForm.onsubmit = submitting(() => signIn(page.token.value));
page.tokenChange.onclick = askForToken;
page.chooseFolder.onclick = () => page.folderInput.click();
page.chooseFiles.onclick = () => page.filesInput.click();
for (const input of [page.folderInput, page.filesInput]) {
  input.onchange = () => {
    choose(fromInput(input.files));
    input.value = ""; // so that the same can be chosen again
  };
}
page.uploadForm.onsubmit = submitting(start);
page.clear.onclick = startOver;
page.cancel.onclick = () => uploads.cancel();
page.retryAll.onclick = retryAll;
page.another.onclick = startOver;
page.previous.onclick = () => turn(-1);
page.next.onclick = () => turn(1);
page.views.onchange = () => {
  viewWasChosen = true;
  turn(0);
};

// A drop is taken anywhere: beside the place for it, the browser would leave the page and show the file.
ondragover = (event) => {
  event.preventDefault();
  page.drop.classList.add("over");
};
ondragleave = ({ relatedTarget }) => page.drop.classList.toggle("over", relatedTarget !== null);
ondrop = (event) => {
  event.preventDefault();
  page.drop.classList.remove("over");
  const entries = entriesOf(event.dataTransfer);
  if (entries.length > 0) choose(fromEntries(entries));
};

onbeforeunload = (event) => {
  if (uploads?.busy) event.preventDefault();
};
onhashchange = takeFragment;
takeFragment();
