"use strict";

// check writes what f comes to into the table.
async function check(name, f) {
  let text;
  try {
    text = String(await f());
  } catch (e) {
    text = "failed: " + e;
  }
  const row = document.getElementById("results").insertRow();
  row.insertCell().textContent = name;
  const cell = row.insertCell();
  cell.id = name;
  cell.textContent = text;
}

async function sha256(buffer) {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
  return Array.from(sum, (b) => b.toString(16).padStart(2, "0")).join("");
}

// noise is a message of so many bytes that are not all alike.
function noise(size) {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31) % 251);
}

function style() {
  return getComputedStyle(document.body).backgroundColor;
}

async function picture() {
  const image = document.getElementById("picture");
  await image.decode();
  return image.naturalWidth + " x " + image.naturalHeight;
}

async function download() {
  const response = await fetch("body");
  const body = await response.arrayBuffer();
  return response.status + " " + body.byteLength + " " + (await sha256(body));
}

async function upload() {
  const body = noise(1 << 20);
  const response = await fetch("upload", { method: "POST", body });
  return (await response.text()) === (await sha256(body)) ? "equal" : "other";
}

// websocket sends messages of each length that RFC 6455, section 5.2 writes in another way, and compares the answers.
function websocket() {
  const sizes = [1, 125, 126, 65535, 65536];
  return new Promise((resolve) => {
    const url = new URL("echo", location);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    let equal = 0;
    socket.onopen = () => sizes.forEach((size) => socket.send(noise(size)));
    socket.onmessage = async (event) => {
      const want = await sha256(noise(sizes[equal]));
      if ((await sha256(event.data)) !== want) {
        socket.close(4000, "other");
      } else if (++equal === sizes.length) {
        socket.close(1000);
      }
    };
    socket.onclose = (event) => resolve(equal + " equal, closed with " + event.code);
  });
}

// attachment has the browser save a file. The test looks at that.
function attachment() {
  document.getElementById("attachment").click();
  return "asked for";
}

(async () => {
  for (const f of [style, picture, download, upload, websocket, attachment]) {
    await check(f.name, f);
  }
  await fetch("done", { method: "POST" });
})();
