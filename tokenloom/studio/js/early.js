/* Runs before the first paint, so that a chosen theme and language do not flash. A classic script on purpose. */
(function () {
  var root = document.documentElement;
  var theme = null;
  var lang = null;
  try {
    theme = localStorage.getItem("tokenloom.theme");
    lang = localStorage.getItem("tokenloom.lang");
  } catch (error) {
    console.info("This browser keeps no settings for this page: " + error.message);
  }
  if (theme !== "light" && theme !== "dark") theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  root.dataset.theme = theme;
  if (lang !== "en" && lang !== "zh") lang = /^zh\b/i.test(navigator.language || "") ? "zh" : "en";
  root.lang = lang === "zh" ? "zh-CN" : "en";
})();
