// Actions need a login. Without one the page only shows.
export function setUpActions() {}
export function killButton() { return null; }
