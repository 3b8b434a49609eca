"use strict";
// Two NiiVue instances, one for each volume: what is done to one is done to the other, in millimetres of the world.
async function createViewer(data, file, canvases, moved, windowed) {
  const { Niivue, NVImage } = niivue;
  const planes = { axial: 0, coronal: 1, sagittal: 2, all: 3 };
  const across = { axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0], all: [0, 1, 2] };
  const views = [];
  let busy = false, plane = "all", zoom = 1;

  for (const [place, name] of ["before", "after"].entries()) {
    const view = new Niivue({
      logLevel: "warn", dragAndDropEnabled: false, isRadiologicalConvention: true, multiplanarShowRender: 0,
      multiplanarPadPixels: 4, crosshairColor: [1, 0.7, 0.2, 0.7], crosshairWidth: 1, crosshairWidthUnit: "percent",
      isNearestInterpolation: place === 0, dragMode: 9, fontColor: [1, 1, 1, 0.8], show3Dcrosshair: false,
    });
    view.opts.crosshairWidth = 0.15;
    await view.attachToCanvas(canvases[place], false);
    if (!place) {
      view.addColormap("difference", { I: [0, 128, 255], R: [60, 0, 255], G: [140, 0, 90], B: [255, 0, 40], A: [255, 0, 255] });
      view.addColormap("uncertainty", { I: [0, 128, 255], R: [0, 180, 255], G: [0, 50, 225], B: [0, 125, 75], A: [0, 160, 255] });
    }
    const [low, high] = data.window;
    const options = { base64: file(name), name: name + ".nii.gz", colormap: "gray", cal_min: low, cal_max: high };
    view.addVolume(await NVImage.loadFromBase64(options));
    views.push(view);
  }
  const [before, after] = views;

  const sizes = () => after.volumes[0].dimsRAS.slice(1, 4);
  const report = () => {
    const mm = after.frac2mm(after.scene.crosshairPos, 0, true);
    const values = views.map((view) => {
      const voxel = view.volumes[0].mm2vox([mm[0], mm[1], mm[2]]);
      return [view.volumes[0].getValue(voxel[0], voxel[1], voxel[2])];
    });
    const texts = [0, 1, 2].map((axis) => mm[axis].toFixed(1) + " mm");
    moved({ sizes: sizes(), indices: [...after.frac2vox(after.scene.crosshairPos)], texts, values, mm: [mm[0], mm[1], mm[2]] });
  };
  // NiiVue's own broadcasting does nothing unless the canvas has the focus, and so nothing for a script or a slider.
  const follow = (from) => {
    if (busy) return;
    busy = true;
    const mm = from.frac2mm(from.scene.crosshairPos, 0, true);
    for (const to of views) {
      if (to === from) continue;
      to.scene.crosshairPos = to.mm2frac(mm, 0, true);
      to.drawScene();
    }
    report();
    busy = false;
  };
  for (const view of views) {
    view.onLocationChange = () => follow(view);
    for (const name of ["mousemove", "mouseup", "dblclick"]) {
      view.canvas.addEventListener(name, () => {
        const { cal_min, cal_max } = view.volumes[0];
        const other = view === before ? after : before;
        if (other.volumes[0].cal_min === cal_min && other.volumes[0].cal_max === cal_max) return;
        setWindow(cal_min, cal_max);
        windowed(cal_min, cal_max);
      });
    }
  }
  const setWindow = (low, high) => {
    for (const view of views) {
      Object.assign(view.volumes[0], { cal_min: low, cal_max: high });
      view.updateGLVolume();
    }
  };
  const centre = () => {
    for (const view of views) {
      // The crosshair stays where it is on the screen.
      const mm = view.frac2mm(view.scene.crosshairPos);
      view.setPan2Dxyzmm([mm[0] * (1 - zoom), mm[1] * (1 - zoom), mm[2] * (1 - zoom), zoom]);
    }
  };
  const moveTo = (axis, index) => {
    const voxel = [...after.frac2vox(after.scene.crosshairPos)];
    voxel[axis] = Math.min(Math.max(index, 0), sizes()[axis] - 1);
    after.scene.crosshairPos = after.vox2frac(voxel);
    follow(after);
    centre();
  };
  // The first view of a plane: right on the left, so that an arrow to the right goes to the patient's left.
  const step = (direction, by) => {
    const axis = across[plane][direction];
    moveTo(axis, after.frac2vox(after.scene.crosshairPos)[axis] + (axis === 0 && direction === 0 ? -by : by));
  };
  const loaded = new Map();
  const setOverlay = async (overlay, opacity) => {
    if (overlay && !loaded.has(overlay.name)) {
      const image = await NVImage.loadFromBase64({
        base64: file(overlay.name), name: overlay.name + ".nii.gz", colormap: overlay.name,
        cal_min: overlay.range[0], cal_max: overlay.range[1], opacity: 0,
      });
      loaded.set(overlay.name, image);
      after.addVolume(image);
    }
    for (const [name, image] of loaded) after.setOpacity(after.volumes.indexOf(image), overlay && overlay.name === name ? opacity : 0);
  };
  const setPlane = (name) => {
    plane = name;
    for (const view of views) view.setSliceType(planes[name]);
  };
  follow(after);
  return {
    views, setWindow, setOverlay, setPlane, moveTo, step,
    setZoom: (value) => { zoom = value; centre(); },
    setNearest: (nearest) => before.setInterpolation(nearest),
    resize: () => views.forEach((view) => view.resizeListener()),
  };
}
