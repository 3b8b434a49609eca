"use strict";
// The controls, for volumes as for images: what draws them is `createViewer` of the other script.
(async () => {
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const stage = find("stage");
  const status = find("status");
  const digits = data.step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(data.step)));
  const number = (value) => value.toFixed(digits);
  const positions = [...document.querySelectorAll(".position")];

  const moved = (place) => {
    positions.forEach((input, axis) => {
      input.max = place.sizes[axis] - 1;
      input.value = place.indices[axis];
      input.parentNode.querySelector("output").textContent = place.texts[axis];
      input.setAttribute("aria-valuetext", place.texts[axis]);
    });
    find("before-value").textContent = place.values[0].map(number).join(", ");
    find("after-value").textContent = place.values[1].map(number).join(", ");
  };

  const windowed = (low, high) => {
    find("window").value = high - low;
    find("level").value = (low + high) / 2;
    find("window-value").textContent = number(high - low);
    find("level-value").textContent = number((low + high) / 2);
  };

  const [least, most] = data.range;
  Object.assign(find("window"), { min: data.step, max: most - least, step: "any" });
  Object.assign(find("level"), { min: least, max: most, step: "any" });
  windowed(...data.window);

  let viewer;
  try {
    viewer = await createViewer(data, (name) => find("file-" + name).textContent, [find("before"), find("after")], moved, windowed);
  } catch (error) {
    status.textContent = "The pictures cannot be shown: " + error.message;
    status.setAttribute("role", "alert");
    return;
  }

  const changeWindow = () => {
    const width = Number(find("window").value), level = Number(find("level").value);
    windowed(level - width / 2, level + width / 2);
    viewer.setWindow(level - width / 2, level + width / 2);
  };
  find("window").addEventListener("input", changeWindow);
  find("level").addEventListener("input", changeWindow);
  find("reset").addEventListener("click", () => {
    windowed(...data.window);
    viewer.setWindow(...data.window);
    change("zoom", 1);
  });

  const plane = find("plane");
  if (plane) {
    if (matchMedia("(max-width: 45rem)").matches) plane.value = data.plane;
    plane.addEventListener("change", () => viewer.setPlane(plane.value));
    viewer.setPlane(plane.value);
  }

  const arrange = () => {
    const stacked = find("arranged").value === "stacked";
    stage.classList.toggle("stacked", stacked);
    stage.classList.toggle("beside", !stacked);
    find("fade-label").hidden = !stacked;
    stage.style.setProperty("--fade", find("fade").value / 100);
    viewer.resize();
  };
  find("arranged").addEventListener("change", arrange);
  find("fade").addEventListener("input", () => stage.style.setProperty("--fade", find("fade").value / 100));

  find("blocks").addEventListener("change", () => viewer.setNearest(find("blocks").value === "nearest"));
  find("zoom").addEventListener("input", () => viewer.setZoom(Number(find("zoom").value)));
  for (const input of positions) input.addEventListener("input", () => viewer.moveTo(Number(input.dataset.axis), Number(input.value)));

  const overlay = async () => {
    const name = find("overlay").value;
    for (const one of data.overlays) find("scale-" + one.name).hidden = one.name !== name;
    await viewer.setOverlay(data.overlays.find((one) => one.name === name) || null, Number(find("opacity").value));
    stage.dataset.overlay = name;
  };
  find("overlay").addEventListener("change", overlay);
  find("opacity").addEventListener("input", overlay);

  const change = (id, value) => {
    find(id).value = value;
    find(id).dispatchEvent(new Event("input"));
    find(id).dispatchEvent(new Event("change"));
  };
  const flip = () => {
    if (find("arranged").value !== "stacked") change("arranged", "stacked");
    change("fade", find("fade").value > 50 ? 0 : 100);
  };
  const keys = {
    b: flip,
    i: () => change("blocks", find("blocks").value === "nearest" ? "linear" : "nearest"),
    "+": () => change("zoom", Number(find("zoom").value) + 0.5),
    "-": () => change("zoom", Number(find("zoom").value) - 0.5),
  };
  for (const one of data.overlays) keys[one.key] = () => change("overlay", find("overlay").value === one.name ? "" : one.name);
  const arrows = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1], PageDown: [2, -1], PageUp: [2, 1] };
  // Before the pictures hear of them: NiiVue has other meanings for some keys.
  document.addEventListener("keydown", (event) => {
    const onPicture = event.target.tagName === "CANVAS";
    if (onPicture) event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    const arrow = onPicture && arrows[event.key];
    if (arrow) viewer.step(...arrow);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  }, true);
  document.addEventListener("keyup", (event) => { if (event.target.tagName === "CANVAS") event.stopPropagation(); }, true);

  addEventListener("resize", () => viewer.resize());
  window.viewer = viewer; // For whoever wants to script the page.
  status.textContent = "";
  status.hidden = true;
  document.body.dataset.ready = "true";
})();
