// A click on a video's card plays it in place, from its moment. One video plays at a time.
if (!window.cocaSearchPlays) {
  window.cocaSearchPlays = true; // Streamlit may run this again
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("button.play");
    if (!button) return;
    const video = button.parentElement.querySelector("video");
    button.hidden = true;
    video.controls = true;
    video.focus();
    playFromMoment(video).catch(() => {}); // the controls show the error
  });
  const playFromMoment = async (video) => {
    const next = (event) => new Promise((done) => video.addEventListener(event, done, { once: true }));
    video.preload = "auto";
    video.load();
    await next("loadeddata");
    const moment = video.currentTime + Number(video.dataset.start); // the times of a film need not begin at 0
    let before = -1;
    while (before < video.currentTime && video.currentTime < moment) {
      before = video.currentTime;
      video.currentTime = moment; // no further than the length known so far: Chromium corrects that of an MP4 that begins late
      await next("seeked");
    }
    await video.play();
  };
  const pauseOthers = ({ target }) =>
    document.querySelectorAll(".hit video").forEach((video) => video !== target && video.pause());
  document.addEventListener("play", pauseOthers, true);
}
