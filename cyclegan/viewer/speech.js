// What is said aloud to users of a screen reader.

let speaking = 0;

// Say where a change led to, once it has come to rest: holding a key must not queue up sentences.
export function say(words) {
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const line = document.querySelector(".viewer-spoken");
    if (line) line.textContent = words;
  }, 300);
}
