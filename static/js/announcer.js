// Says short things to those who hear the page; what stood there at first is not heard by itself.

const node = () => document.getElementById("announcer");

export function announce(words) {
  // The same words twice are heard twice only when the node was empty in between.
  node().textContent = "";
  setTimeout(() => { node().textContent = words; }, 50);
}

export function announceMessages() {
  const told = [...document.querySelectorAll("#messages .message-text")].map((one) => one.textContent.trim());
  if (told.length) announce(told.join(" "));
}
