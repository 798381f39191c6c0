// What the command-line client of the DataHub stack sends and expects, in plain Node 20 or newer.
//
//   AUTH_TOKEN=… node deployed_client.mjs --service http://127.0.0.1:8000/rawstore --owner ada --folder dataset \
//     [--findability private] [--no-filename]
//
// Pushes every file below the folder, then downloads each by a presigned URL and compares. Prints one line of JSON:
// {"uploaded": n, "skipped": n, "identical": n, "errors": ["path: what went wrong"]}, and ends with status 1 if there
// were errors.

import { createHash, randomUUID } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { connect } from "node:net";
import path from "node:path";
import { parseArgs } from "node:util";

const TIMEOUT_MILLISECONDS = 60_000;
// These have a meaning of their own in a query, or in the URL that is its value.
const NEEDS_ENCODING = /[%&#?]/;

class Refused extends Error {}

async function main() {
  const { values: options } = parseArgs({
    options: {
      service: { type: "string" },
      owner: { type: "string" },
      folder: { type: "string" },
      findability: { type: "string", default: "published" },
      "no-filename": { type: "boolean", default: false },
    },
  });
  const summary = { uploaded: 0, skipped: 0, identical: 0, errors: [] };
  try {
    await push(options, summary);
  } catch (error) {
    summary.errors.push(describe(error));
  }
  console.log(JSON.stringify(summary));
  process.exitCode = summary.errors.length > 0 ? 1 : 0;
}

async function push({ service, owner, folder, findability, "no-filename": noFilename }, summary) {
  const files = await readFiles(folder);
  const answer = await authorize(service, { owner, findability }, files);
  for (const [name, content] of files) {
    try {
      const authorization = answer.filedata[name];
      if (authorization.exists) {
        summary.skipped += 1;
      } else {
        await upload(authorization, content, noFilename ? undefined : path.posix.basename(name));
        summary.uploaded += 1;
      }
      const download = await presign(service, owner, authorization.upload_url, authorization.upload_query.key);
      if (content.equals(await bytesOf(download))) {
        summary.identical += 1;
      } else {
        summary.errors.push(`${name}: other bytes came back`);
      }
    } catch (error) {
      summary.errors.push(`${name}: ${describe(error)}`);
    }
  }
}

function describe(error) {
  return error instanceof Refused ? error.message : `${error.stack}${error.cause ? `, by ${error.cause}` : ""}`;
}

async function readFiles(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
  return new Map(
    await Promise.all(
      names.map(async (name) => [path.relative(folder, name).split(path.sep).join("/"), await readFile(name)]),
    ),
  );
}

async function authorize(service, metadata, files) {
  const filedata = {};
  for (const [name, content] of files) {
    const md5 = createHash("md5").update(content).digest("base64");
    filedata[name] = { length: content.length, md5, name: path.posix.basename(name) };
  }
  const response = await request(`${service}/authorize`, {
    method: "POST",
    headers: { "Auth-Token": process.env.AUTH_TOKEN, "Content-Type": "application/json" },
    body: JSON.stringify({ metadata, filedata }),
  });
  if (response.status !== 200) {
    throw new Refused(await explain(response));
  }
  return response.json();
}

async function upload({ upload_url: url, upload_query: fields }, content, filename) {
  const boundary = `----------${randomUUID()}`;
  const quoted = filename?.replace(/["\r\n]/g, (character) => encodeURIComponent(character));
  const parts = Object.entries(fields).map(([name, value]) => part(boundary, `name="${name}"`, [], value));
  parts.push(
    part(
      boundary,
      quoted === undefined ? 'name="file"' : `name="file"; filename="${quoted}"`,
      [`Content-Type: ${fields["Content-Type"]}`],
      content,
    ),
  );
  const response = await request(url, {
    method: "POST",
    headers: { "Content-Type": `multipart/form-data; boundary=${boundary}` },
    body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
  });
  if (response.status > 204) {
    throw new Refused(`upload: ${await explain(response)}`);
  }
  await response.arrayBuffer();
}

function part(boundary, disposition, headers, value) {
  const head = [`--${boundary}`, `Content-Disposition: form-data; ${disposition}`, ...headers, "", ""];
  return Buffer.concat([Buffer.from(head.join("\r\n")), Buffer.from(value), Buffer.from("\r\n")]);
}

async function presign(service, owner, uploadUrl, key) {
  // Deployed clients put the URL into the query as it is; where that can't be, it is written as URLs should be.
  const url = NEEDS_ENCODING.test(key)
    ? encodeURIComponent(`${uploadUrl}/${key.split("/").map(encodeURIComponent).join("/")}`)
    : `${uploadUrl}/${key}`;
  const { status, body } = await getUnchanged(`${service}/presign?ownerid=${owner}&url=${url}`);
  if (status !== 200) {
    throw new Refused(`presign: ${messageOf(status, body)}`);
  }
  return JSON.parse(body).url;
}

// A GET whose query goes out as it is, which fetch doesn't allow. Only what no request line can hold is encoded, as
// every client does it: white space and what isn't ASCII.
async function getUnchanged(url) {
  const [, host, target] = /^http:\/\/([^/]+)(.*)$/s.exec(url);
  const [hostname, port = "80"] = host.split(":");
  const socket = connect({ host: hostname, port: Number(port), timeout: TIMEOUT_MILLISECONDS });
  socket.once("timeout", () => socket.destroy(new Error("no answer in time")));
  const headers = [`Host: ${host}`, `Auth-Token: ${process.env.AUTH_TOKEN}`, "Connection: close"];
  const sendable = target.replace(/[^!-~]+/gu, encodeURIComponent);
  socket.write([`GET ${sendable} HTTP/1.1`, ...headers, "", ""].join("\r\n"));
  const chunks = [];
  for await (const chunk of socket) {
    chunks.push(chunk);
  }
  const answer = Buffer.concat(chunks).toString();
  const end = answer.indexOf("\r\n\r\n");
  return { status: Number(answer.split(" ", 2)[1]), body: answer.slice(end + 4) };
}

async function bytesOf(url) {
  const response = await request(url, {});
  if (response.status !== 200) {
    throw new Refused(`download: ${await explain(response)}`);
  }
  return Buffer.from(await response.arrayBuffer());
}

// A redirect is no success for an upload, and nothing that this client would follow with a token.
function request(url, options) {
  return fetch(url, { redirect: "manual", signal: AbortSignal.timeout(TIMEOUT_MILLISECONDS), ...options });
}

async function explain(response) {
  return messageOf(response.status, await response.text());
}

// What a person is shown: the service's error.message, or what there is of any other answer.
function messageOf(status, body) {
  try {
    return `${status} ${JSON.parse(body).error.message}`;
  } catch {
    return `${status} ${body.slice(0, 300)}`;
  }
}

await main();
