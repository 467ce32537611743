// Who may be shown the access token. Compared after the URL has been resolved, so
// that "//elsewhere.example" and "https://elsewhere.example" are seen for what
// they are.

/** @typedef {(url: URL) => boolean} Allowed */

/** @param {string[]} entries origins, each with or without a path @param {string} base @returns {Allowed} */
export function allowing(entries, base) {
  const prefixes = entries.map((entry) => new URL(entry, base));
  return (url) => isSecure(url) && prefixes.some(({ origin, pathname }) => url.origin === origin
    // "/v1" allows /v1 and /v1/mail, and not /v10.
    && (url.pathname === pathname || url.pathname.startsWith(pathname.endsWith('/') ? pathname : `${pathname}/`)));
}

/** @param {URL} url */
const isSecure = ({ protocol, hostname }) => protocol === 'https:' || /^((.+\.)?localhost|127\.[\d.]+|\[::1])$/.test(hostname);
