// Follows the colours that the person has chosen in Airflow, which keeps them in this browser; else the system's.
const follow = () => {
  const chosen = localStorage.getItem("theme");
  const theme = chosen === "light" || chosen === "dark" ? chosen : "";
  document.documentElement.dataset.theme = theme;
};
follow();
addEventListener("storage", follow);
