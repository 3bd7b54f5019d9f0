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
    video.play().catch(() => {}); // the controls show the error
  });
  const pauseOthers = ({ target }) =>
    document.querySelectorAll(".hit video").forEach((video) => video !== target && video.pause());
  document.addEventListener("play", pauseOthers, true);
}
