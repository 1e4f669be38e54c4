//! The frame of a page of HTML with figures: its head and its colours.
//!
//! Always true: the page loads nothing from elsewhere and runs no script. It is readable on a light
//! and on a dark background.

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1d2329;--back:#fff;--soft:#667;--grid:#dde1e6;\
--c0:#2563c9;--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#0e7490;--c5:#a16207}\
@media(prefers-color-scheme:dark){:root{--text:#e6e8ea;--back:#14181c;--soft:#9aa4ae;\
--grid:#2c343c;--c0:#7db3ff;--c1:#ff9a62;--c2:#6fd48f;--c3:#cf9dff;--c4:#5fd0e6;--c5:#e3bd55}}\
body{font:15px/1.45 system-ui,sans-serif;color:var(--text);background:var(--back);\
max-width:820px;margin:24px auto;padding:0 16px}\
h1{font-size:22px}table{border-collapse:collapse;width:100%}\
td{border-top:1px solid var(--grid);padding:4px 8px 4px 0;vertical-align:top}\
td:first-child{color:var(--soft);white-space:nowrap}\
.good{color:var(--c2)}.bad{color:var(--c1)}figure{margin:24px 0}figcaption{font-weight:600}\
small{font-weight:400;color:var(--soft)}svg{width:100%;height:auto;display:block}\
svg text{font-size:11px;fill:var(--soft)}.left{text-anchor:end}.below{text-anchor:middle}\
.grid{stroke:var(--grid)}.mark{stroke:var(--soft);stroke-dasharray:3 3}\
.line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}\
.key{margin-left:10px}.key::before{content:'\\2014\\00a0'}\
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}\
.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.bar{fill:var(--c0);stroke:none}\
.key.c0{color:var(--c0)}.key.c1{color:var(--c1)}.key.c2{color:var(--c2)}\
.key.c3{color:var(--c3)}.key.c4{color:var(--c4)}.key.c5{color:var(--c5)}\
rect.c0{fill:var(--c0)}rect.c1{fill:var(--c1)}rect.c2{fill:var(--c2)}rect.c3{fill:var(--c3)}\
rect.c4{fill:var(--c4)}rect.c5{fill:var(--c5)}\n";

/// Makes a page of this body.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title>\n<style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>{body}</body></html>\n"
    )
}
