"use strict";
// Two canvases of pictures: what is done to one is done to the other.
async function createViewer(data, file, canvases, moved, windowed) {
  const read = async (name) => {
    const image = new Image();
    image.src = "data:image/png;base64," + file(name);
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    return { canvas, context, levels: context.getImageData(0, 0, image.width, image.height).data };
  };
  const pictures = [await read("before"), await read("after")];
  const size = [pictures[1].canvas.width, pictures[1].canvas.height];
  const coloured = pictures[1].levels.some((value, place) => place % 4 && place % 4 < 3 && value !== pictures[1].levels[place - 1]);
  const place = [size[0] >> 1, size[1] >> 1];
  let nearest = true, zoom = 1, shown = null, opacity = 0, overlay = null;

  const grey = (level) => data.range[0] + level * data.step;
  const setWindow = (low, high) => {
    const table = Uint8ClampedArray.from({ length: 256 }, (_, level) => (255 * (grey(level) - low)) / Math.max(high - low, 1e-9));
    for (const { canvas, context, levels } of pictures) {
      const image = context.createImageData(canvas.width, canvas.height);
      levels.forEach((level, at) => { image.data[at] = at % 4 < 3 ? table[level] : 255; });
      context.putImageData(image, 0, 0);
    }
    draw();
  };
  const draw = () => {
    canvases.forEach((canvas, side) => {
      const width = Math.round(canvas.clientWidth * devicePixelRatio), height = Math.round((width * size[1]) / size[0]);
      canvas.width = width;
      canvas.height = height;
      const context = canvas.getContext("2d");
      const scale = (zoom * width) / size[0];
      // The crosshair stays where it is on the screen.
      const left = ((place[0] + 0.5) * width) / size[0] - (place[0] + 0.5) * scale;
      const top = ((place[1] + 0.5) * height) / size[1] - (place[1] + 0.5) * scale;
      context.imageSmoothingEnabled = side ? scale < 2 : !nearest;
      context.drawImage(pictures[side].canvas, left, top, size[0] * scale, size[1] * scale);
      if (side && shown) {
        context.globalAlpha = opacity;
        context.drawImage(shown.canvas, left, top, size[0] * scale, size[1] * scale);
        context.globalAlpha = 1;
      }
      context.strokeStyle = "rgba(255, 180, 50, 0.7)";
      context.lineWidth = devicePixelRatio;
      context.beginPath();
      context.moveTo(left + (place[0] + 0.5) * scale, 0);
      context.lineTo(left + (place[0] + 0.5) * scale, height);
      context.moveTo(0, top + (place[1] + 0.5) * scale);
      context.lineTo(width, top + (place[1] + 0.5) * scale);
      context.stroke();
    });
  };
  const report = () => {
    const values = pictures.map(({ canvas, levels }) => {
      const x = Math.floor(((place[0] + 0.5) * canvas.width) / size[0]), y = Math.floor(((place[1] + 0.5) * canvas.height) / size[1]);
      const at = 4 * (y * canvas.width + x);
      return [...levels.slice(at, at + (coloured ? 3 : 1))].map(grey);
    });
    moved({ sizes: size, indices: place, texts: place.map(String), values });
  };
  const moveTo = (axis, index) => {
    place[axis] = Math.min(Math.max(Math.round(index), 0), size[axis] - 1);
    draw();
    report();
  };
  for (const canvas of canvases) {
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      [event.clientX - box.left, event.clientY - box.top].forEach((at, axis) => {
        const seen = (at / (axis ? box.height : box.width)) * size[axis];
        // Where the pointer is on the picture as it was zoomed around the old place.
        place[axis] = Math.min(Math.max(Math.floor(place[axis] + 0.5 + (seen - place[axis] - 0.5) / zoom), 0), size[axis] - 1);
      });
      draw();
      report();
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
    canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId) && zoom === 1) point(event); });
  }
  const setOverlay = async (wanted, alpha) => {
    opacity = alpha;
    if (wanted && !overlay) {
      overlay = await read(wanted.name);
      const image = overlay.context.createImageData(...size);
      for (let at = 0; at < image.data.length; at += 4) {
        const share = (overlay.levels[at] - 128) / 127;
        image.data.set(share < 0 ? [60, 140, 255, -255 * share] : [255, 90, 40, 255 * share], at);
      }
      overlay.context.putImageData(image, 0, 0);
    }
    shown = wanted ? overlay : null;
    draw();
  };
  setWindow(...data.window);
  report();
  return {
    setWindow, setOverlay, moveTo, resize: draw,
    step: (direction, by) => { if (direction < 2) moveTo(direction, place[direction] + (direction ? -by : by)); },
    setZoom: (value) => { zoom = value; draw(); },
    setNearest: (value) => { nearest = value; draw(); },
    place: () => [...place], overlay: () => (shown ? opacity : 0),
  };
}
