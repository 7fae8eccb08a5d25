"use strict";(self.rspackChunkkedge_lab=self.rspackChunkkedge_lab||[]).push([[700],{646(e,t,r){var a=r(601),o=r.n(a),n=r(314),i=(r.n(n))()(o());i.push([e.id,`/* Every state has a shape and a word besides its colour. The colours are dark enough on light themes, and light enough on dark ones, to be read. */
:root {
  --kedge-fresh: #1b7742;
  --kedge-restored: #0b63b8;
  --kedge-stale: #9a5300;
  --kedge-running: #6a3fb5;
  --kedge-uncached: #6b6b6b;
  --kedge-name-light: 92%;
  --kedge-name-text: 22%;
}

body[data-jp-theme-light='false'] {
  --kedge-fresh: #6fcf97;
  --kedge-restored: #7ab8ff;
  --kedge-stale: #f2b35a;
  --kedge-running: #c3a5ff;
  --kedge-uncached: #b0b0b0;
  --kedge-name-light: 24%;
  --kedge-name-text: 86%;
}

.kedge-Badge {
  align-items: center;
  color: var(--jp-ui-font-color2);
  display: flex;
  font-family: var(--jp-ui-font-family);
  font-size: 11px;
  gap: 8px;
  height: 18px;
  line-height: 18px;
  /* in line with the code: the collapser and the prompt are to its left */
  margin-left: calc(var(--jp-cell-collapser-width) + var(--jp-cell-prompt-width));
  overflow: hidden;
  padding-left: var(--jp-cell-padding);
  white-space: nowrap;
}

.kedge-Step {
  background: hsl(var(--kedge-hue) 60% var(--kedge-name-light));
  border-radius: 8px;
  color: hsl(var(--kedge-hue) 60% var(--kedge-name-text));
  flex: 0 1 auto;
  font-weight: 600;
  line-height: 15px;
  overflow: hidden;
  padding: 0 7px;
  text-overflow: ellipsis;
}

.kedge-State {
  align-items: center;
  color: var(--kedge-color);
  display: inline-flex;
  flex: none;
  gap: 4px;
}

.kedge-State svg {
  fill: none;
  height: 11px;
  stroke: currentcolor;
  stroke-linecap: round;
  stroke-linejoin: round;
  stroke-width: 1.6;
  width: 11px;
}

[data-kedge-state='stale'] > .kedge-Badge svg,
[data-kedge-state='running'] > .kedge-Badge svg {
  fill: currentcolor;
}

/* Why: of the cell that one works on, and of any that one points at. */
.kedge-Why {
  flex: 0 1 auto;
  overflow: hidden;
  text-overflow: ellipsis;
  visibility: hidden;
}

.jp-mod-active > .kedge-Badge .kedge-Why,
.kedge-Badge:hover .kedge-Why,
[data-kedge-state='none'] > .kedge-Badge .kedge-Why {
  visibility: visible;
}

.kedge-Again {
  background: none;
  border: 1px solid var(--jp-border-color1);
  border-radius: 8px;
  color: var(--jp-ui-font-color1);
  cursor: pointer;
  flex: none;
  font-size: 10px;
  line-height: 13px;
  padding: 0 7px;
  visibility: hidden;
}

.kedge-Again:hover {
  border-color: var(--jp-brand-color1);
}

.jp-mod-active[data-kedge-state='restored'] > .kedge-Badge .kedge-Again,
.kedge-Badge:hover .kedge-Again {
  visibility: visible;
}

[data-kedge-state='fresh'] { --kedge-color: var(--kedge-fresh); }
[data-kedge-state='restored'] { --kedge-color: var(--kedge-restored); }
[data-kedge-state='stale'] { --kedge-color: var(--kedge-stale); }
[data-kedge-state='running'] { --kedge-color: var(--kedge-running); }
[data-kedge-state='uncached'] { --kedge-color: var(--kedge-uncached); }

@media (prefers-reduced-motion: no-preference) {
  [data-kedge-state='running'] > .kedge-Badge svg {
    animation: kedge-runs 1.2s ease-in-out infinite;
  }
}

@keyframes kedge-runs {
  50% { opacity: 0.25; }
}

.kedge-Dialog {
  min-width: 420px;
}

.kedge-Dialog table {
  border-collapse: collapse;
  margin: 8px 0;
}

.kedge-Dialog td {
  max-width: 340px;
  overflow: hidden;
  padding: 2px 12px 2px 0;
  text-overflow: ellipsis;
  vertical-align: top;
  white-space: nowrap;
}

.kedge-Dialog td:last-child {
  text-align: right;
}

.kedge-Editor {
  display: grid;
  gap: 10px 12px;
  grid-template-columns: auto 1fr;
}

.kedge-Editor .kedge-Chips {
  display: flex;
  flex-wrap: wrap;
  gap: 6px;
}

.kedge-Chip {
  align-items: center;
  border: 1px solid var(--jp-border-color1);
  border-radius: 9px;
  display: inline-flex;
  gap: 4px;
  padding: 1px 8px;
}

.kedge-Chip:focus-within {
  border-color: var(--jp-brand-color1);
}

.kedge-Hint {
  color: var(--jp-ui-font-color2);
  grid-column: 2;
}

.kedge-Status {
  cursor: pointer;
  line-height: 24px;
  max-width: 480px;
  overflow: hidden;
  text-overflow: ellipsis;
}

.kedge-Panel {
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: 12px;
  min-width: 260px;
  overflow-y: auto;
  padding: 10px;
}

.kedge-Panel h3 {
  font-size: 11px;
  margin: 14px 0 6px;
  text-transform: uppercase;
}

.kedge-Steps {
  display: flex;
}

.kedge-Edge {
  fill: none;
  stroke: var(--jp-ui-font-color2);
  stroke-width: 1.3;
}

.kedge-mod-declared {
  stroke-dasharray: 3 2;
}

.kedge-Node,
.kedge-Head {
  align-items: center;
  background: none;
  border: 0;
  color: inherit;
  cursor: pointer;
  display: flex;
  font-size: 12px;
  gap: 8px;
  height: 28px;
  overflow: hidden;
  padding: 0 4px;
  white-space: nowrap;
  width: 100%;
}

.kedge-Node:hover,
.kedge-Head:hover {
  background: var(--jp-layout-color2);
}

.kedge-Panel .kedge-State svg {
  fill: none;
}

.kedge-Panel [data-kedge-state='stale'] svg,
.kedge-Panel [data-kedge-state='running'] svg {
  fill: currentcolor;
}

.kedge-Size {
  color: var(--jp-ui-font-color2);
  flex: 1;
  overflow: hidden;
  text-align: right;
  text-overflow: ellipsis;
}

.kedge-Entry table {
  border-collapse: collapse;
  margin: 2px 0 4px 14px;
}

.kedge-Entry td {
  max-width: 150px;
  overflow: hidden;
  padding: 1px 8px 1px 0;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.kedge-Panel .kedge-Again {
  margin-left: 14px;
  visibility: visible;
}

.kedge-Entry .kedge-Preview {
  color: var(--jp-ui-font-color2);
  font-family: var(--jp-code-font-family);
  font-size: 11px;
  max-width: 220px;
  overflow-wrap: anywhere;
  padding-left: 10px;
  white-space: normal;
}

.kedge-Preview table {
  margin: 0;
}

.kedge-Preview th {
  font-weight: 600;
  padding-right: 8px;
  text-align: left;
}

.kedge-Entry .kedge-Note {
  color: var(--jp-ui-font-color2);
  margin-left: 14px;
  overflow-wrap: anywhere;
}

.kedge-Share {
  display: flex;
  flex-direction: column;
  gap: 8px;
  max-width: 560px;
  overflow-wrap: anywhere;
}

.kedge-Share [hidden] {
  display: none;
}

.kedge-Dialog.kedge-Share td {
  padding-right: 12px;
  text-align: left;
  vertical-align: top;
}

.kedge-Dialog.kedge-Share td:first-child {
  white-space: nowrap;
}

.kedge-Share .kedge-Link {
  font-family: var(--jp-code-font-family);
  width: 100%;
}

.kedge-Warning {
  color: var(--jp-warn-color0);
}

.kedge-mod-lacks {
  outline: 2px solid var(--jp-error-color1);
  outline-offset: 2px;
}
`,""]),r.d(t,{},{A:i})},314(e){e.exports=function(e){var t=[];return t.toString=function(){return this.map(function(t){var r="",a=void 0!==t[5];return t[4]&&(r+="@supports (".concat(t[4],") {")),t[2]&&(r+="@media ".concat(t[2]," {")),a&&(r+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),r+=e(t),a&&(r+="}"),t[2]&&(r+="}"),t[4]&&(r+="}"),r}).join("")},t.i=function(e,r,a,o,n){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(a)for(var d=0;d<this.length;d++){var l=this[d][0];null!=l&&(i[l]=!0)}for(var s=0;s<e.length;s++){var p=[].concat(e[s]);a&&i[p[0]]||(void 0!==n&&(void 0===p[5]||(p[1]="@layer".concat(p[5].length>0?" ".concat(p[5]):""," {").concat(p[1],"}")),p[5]=n),r&&(p[2]&&(p[1]="@media ".concat(p[2]," {").concat(p[1],"}")),p[2]=r),o&&(p[4]?(p[1]="@supports (".concat(p[4],") {").concat(p[1],"}"),p[4]=o):p[4]="".concat(o)),t.push(p))}},t}},601(e){e.exports=function(e){return e[1]}},72(e){var t=[];function r(e){for(var r=-1,a=0;a<t.length;a++)if(t[a].identifier===e){r=a;break}return r}function a(e,a){for(var o={},n=[],i=0;i<e.length;i++){var d=e[i],l=a.base?d[0]+a.base:d[0],s=o[l]||0,p="".concat(l," ").concat(s);o[l]=s+1;var g=r(p),c={css:d[1],media:d[2],sourceMap:d[3],supports:d[4],layer:d[5]};if(-1!==g)t[g].references++,t[g].updater(c);else{var f=function(e,t){var r=t.domAPI(t);return r.update(e),function(t){t?(t.css!==e.css||t.media!==e.media||t.sourceMap!==e.sourceMap||t.supports!==e.supports||t.layer!==e.layer)&&r.update(e=t):r.remove()}}(c,a);a.byIndex=i,t.splice(i,0,{identifier:p,updater:f,references:1})}n.push(p)}return n}e.exports=function(e,o){var n=a(e=e||[],o=o||{});return function(e){e=e||[];for(var i=0;i<n.length;i++){var d=r(n[i]);t[d].references--}for(var l=a(e,o),s=0;s<n.length;s++){var p=r(n[s]);0===t[p].references&&(t[p].updater(),t.splice(p,1))}n=l}}},659(e){var t={};e.exports=function(e,r){var a=function(e){if(void 0===t[e]){var r=document.querySelector(e);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(e){r=null}t[e]=r}return t[e]}(e);if(!a)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");a.appendChild(r)}},540(e){e.exports=function(e){var t=document.createElement("style");return e.setAttributes(t,e.attributes),e.insert(t,e.options),t}},56(e,t,r){e.exports=function(e){var t=r.nc;t&&e.setAttribute("nonce",t)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=e.insertStyleElement(e);return{update:function(r){var a,o,n;a="",r.supports&&(a+="@supports (".concat(r.supports,") {")),r.media&&(a+="@media ".concat(r.media," {")),(o=void 0!==r.layer)&&(a+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),a+=r.css,o&&(a+="}"),r.media&&(a+="}"),r.supports&&(a+="}"),(n=r.sourceMap)&&"u">typeof btoa&&(a+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(n))))," */")),e.styleTagTransform(a,t,e.options)},remove:function(){var e;null===(e=t).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,t){if(t.styleSheet)t.styleSheet.cssText=e;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(e))}}},959(e,t,r){var a=r(72),o=r.n(a),n=r(825),i=r.n(n),d=r(659),l=r.n(d),s=r(56),p=r.n(s),g=r(540),c=r.n(g),f=r(113),h=r.n(f),u=r(646),k={};k.styleTagTransform=h(),k.setAttributes=p(),k.insert=l().bind(null,"head"),k.domAPI=i(),k.insertStyleElement=c(),o()(u.A,k),u.A&&u.A.locals&&u.A.locals}}]);