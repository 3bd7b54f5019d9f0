// A click on the card of a video plays it in place, from its moment; one video plays at a time.
if (!window.cocaSearchPlays) {
  window.cocaSearchPlays = true; // Streamlit may run this again
  document.addEventListener("click", ({ target }) => {
    const button = target.closest?.("button.play");
    if (!button) return;
    const video = button.parentElement.querySelector("video");
    button.hidden = true;
    video.controls = true;
    video.focus();
    video.play().catch(() => {}); // what cannot be played shows so in its controls
  });
  const pauseOthers = ({ target }) =>
    document.querySelectorAll(".hit video").forEach((video) => video !== target && video.pause());
  document.addEventListener("play", pauseOthers, true);
}
