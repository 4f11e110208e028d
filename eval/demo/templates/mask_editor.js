// The value has the key of the result, its picture, its mask, and whether a person has changed the mask. It is replaced
// as a whole, so what a click sends always belongs to one result, whatever is drawn at that moment.
const canvas = element.querySelector("canvas"), tools = element.querySelector(".tools");
const empty = element.querySelector(".empty"), undo = element.querySelector("[data-do=undo]");
const layer = document.createElement("canvas");
const STEPS = 30;
let loaded = null, picture = null, found = null, before = [], last = null;

const image = async (url) => {
  const node = new Image();
  node.src = url;
  await node.decode();
  return node;
};

function show() {
  const context = canvas.getContext("2d");
  context.globalAlpha = 1;
  context.drawImage(picture, 0, 0);
  context.globalAlpha = 0.6;
  context.drawImage(layer, 0, 0);
  undo.disabled = before.length === 0;
}

async function load() {
  const value = props.value;
  tools.hidden = canvas.hidden = !value;
  empty.hidden = Boolean(value);
  if (!value || loaded === value.result) return;
  [loaded, last] = [null, null];  // a stroke on the result before ends here
  const [newPicture, newMask] = await Promise.all([image(value.picture), image(value.mask)]);
  if (!props.value || props.value.result !== value.result) return;  // a later result has come
  [picture, found, before, last] = [newPicture, value, [], null];
  canvas.width = layer.width = picture.width;
  canvas.height = layer.height = picture.height;
  canvas.style.maxWidth = picture.width + "px";
  layer.getContext("2d").drawImage(newMask, 0, 0);
  loaded = value.result;
  canvas.dataset.result = loaded;
  show();
}

function keep(isDrawn) {
  props.value = isDrawn ? { ...found, mask: layer.toDataURL(), is_drawn: true } : found;
  show();
}

function remember() {
  before.push({ pixels: layer.getContext("2d").getImageData(0, 0, layer.width, layer.height), value: props.value });
  if (before.length > STEPS) before.shift();
}

function stroke(event) {
  const frame = canvas.getBoundingClientRect(), scale = canvas.width / frame.width;
  const point = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
  const context = layer.getContext("2d");
  const erases = element.querySelector("[name=mask-tool]:checked").value === "erase";
  context.globalCompositeOperation = erases ? "destination-out" : "source-over";
  context.strokeStyle = "rgb(226, 32, 24)";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = element.querySelector("input[type=range]").valueAsNumber;
  context.beginPath();
  context.moveTo(...(last ?? point));
  context.lineTo(...point);
  context.stroke();
  context.globalCompositeOperation = "source-over";
  last = point;
  show();
}

canvas.addEventListener("pointerdown", (event) => {
  if (loaded === null || event.button !== 0) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  remember();
  stroke(event);
});
canvas.addEventListener("pointermove", (event) => { if (last) stroke(event); });
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { if (last) { last = null; keep(true); } });
}

tools.addEventListener("click", (event) => {
  const action = event.target.dataset.do;
  if (!action || loaded === null) return;
  const context = layer.getContext("2d");
  if (action === "undo") {
    const { pixels, value } = before.pop();
    context.putImageData(pixels, 0, 0);
    props.value = value;
    show();
    return;
  }
  remember();
  context.clearRect(0, 0, layer.width, layer.height);
  if (action === "clear") { keep(true); return; }
  const result = loaded;
  image(found.mask).then((node) => {
    if (loaded !== result) return;
    context.drawImage(node, 0, 0);
    keep(false);
  });
});

watch("value", load);
load();
