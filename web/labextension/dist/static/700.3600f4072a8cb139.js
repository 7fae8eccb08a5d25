"use strict";(self.rspackChunkkedge_lab=self.rspackChunkkedge_lab||[]).push([[700],{646(e,t,r){var a=r(601),n=r.n(a),o=r(314),i=(r.n(o))()(n());i.push([e.id,`/* Every state has a shape and a word besides its colour. The colours are dark enough on light themes, and light enough on dark ones, to be read. */
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
}
`,""]),r.d(t,{},{A:i})},314(e){e.exports=function(e){var t=[];return t.toString=function(){return this.map(function(t){var r="",a=void 0!==t[5];return t[4]&&(r+="@supports (".concat(t[4],") {")),t[2]&&(r+="@media ".concat(t[2]," {")),a&&(r+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),r+=e(t),a&&(r+="}"),t[2]&&(r+="}"),t[4]&&(r+="}"),r}).join("")},t.i=function(e,r,a,n,o){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(a)for(var d=0;d<this.length;d++){var s=this[d][0];null!=s&&(i[s]=!0)}for(var l=0;l<e.length;l++){var c=[].concat(e[l]);a&&i[c[0]]||(void 0!==o&&(void 0===c[5]||(c[1]="@layer".concat(c[5].length>0?" ".concat(c[5]):""," {").concat(c[1],"}")),c[5]=o),r&&(c[2]&&(c[1]="@media ".concat(c[2]," {").concat(c[1],"}")),c[2]=r),n&&(c[4]?(c[1]="@supports (".concat(c[4],") {").concat(c[1],"}"),c[4]=n):c[4]="".concat(n)),t.push(c))}},t}},601(e){e.exports=function(e){return e[1]}},72(e){var t=[];function r(e){for(var r=-1,a=0;a<t.length;a++)if(t[a].identifier===e){r=a;break}return r}function a(e,a){for(var n={},o=[],i=0;i<e.length;i++){var d=e[i],s=a.base?d[0]+a.base:d[0],l=n[s]||0,c="".concat(s," ").concat(l);n[s]=l+1;var g=r(c),p={css:d[1],media:d[2],sourceMap:d[3],supports:d[4],layer:d[5]};if(-1!==g)t[g].references++,t[g].updater(p);else{var u=function(e,t){var r=t.domAPI(t);return r.update(e),function(t){t?(t.css!==e.css||t.media!==e.media||t.sourceMap!==e.sourceMap||t.supports!==e.supports||t.layer!==e.layer)&&r.update(e=t):r.remove()}}(p,a);a.byIndex=i,t.splice(i,0,{identifier:c,updater:u,references:1})}o.push(c)}return o}e.exports=function(e,n){var o=a(e=e||[],n=n||{});return function(e){e=e||[];for(var i=0;i<o.length;i++){var d=r(o[i]);t[d].references--}for(var s=a(e,n),l=0;l<o.length;l++){var c=r(o[l]);0===t[c].references&&(t[c].updater(),t.splice(c,1))}o=s}}},659(e){var t={};e.exports=function(e,r){var a=function(e){if(void 0===t[e]){var r=document.querySelector(e);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(e){r=null}t[e]=r}return t[e]}(e);if(!a)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");a.appendChild(r)}},540(e){e.exports=function(e){var t=document.createElement("style");return e.setAttributes(t,e.attributes),e.insert(t,e.options),t}},56(e,t,r){e.exports=function(e){var t=r.nc;t&&e.setAttribute("nonce",t)}},825(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=e.insertStyleElement(e);return{update:function(r){var a,n,o;a="",r.supports&&(a+="@supports (".concat(r.supports,") {")),r.media&&(a+="@media ".concat(r.media," {")),(n=void 0!==r.layer)&&(a+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),a+=r.css,n&&(a+="}"),r.media&&(a+="}"),r.supports&&(a+="}"),(o=r.sourceMap)&&"u">typeof btoa&&(a+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(o))))," */")),e.styleTagTransform(a,t,e.options)},remove:function(){var e;null===(e=t).parentNode||e.parentNode.removeChild(e)}}}},113(e){e.exports=function(e,t){if(t.styleSheet)t.styleSheet.cssText=e;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(e))}}},959(e,t,r){var a=r(72),n=r.n(a),o=r(825),i=r.n(o),d=r(659),s=r.n(d),l=r(56),c=r.n(l),g=r(540),p=r.n(g),u=r(113),f=r.n(u),h=r(646),k={};k.styleTagTransform=f(),k.setAttributes=c(),k.insert=s().bind(null,"head"),k.domAPI=i(),k.insertStyleElement=p(),n()(h.A,k),h.A&&h.A.locals&&h.A.locals}}]);