// The tab's session storage, or nothing where the browser forbids it: the page works without, it only forgets on reload.

function open() {
  try {
    return window.sessionStorage;
  } catch {
    return { getItem: () => null, setItem() {}, removeItem() {} };
  }
}

export const storage = open();
