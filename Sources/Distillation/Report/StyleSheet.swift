/// The report's style sheet: light and dark, phone and paper. Holds neither `<` nor `&`, so it can stand in the page as
/// it is. A table of many arms may be as wide as the page, and turns its scroll bar to the top, where it is seen at once:
/// it is turned over, and the table in it turned back. The arms' colours follow Okabe and Ito's palette for all kinds of
/// colour vision, darkened (or lightened) until they contrast with the background by at least 3 to 1.
let reportStyleSheet = """
    :root {
      color-scheme: light;
      --paper: #ffffff; --ink: #1c1e21; --faint: #5c636b; --rule: #d9dde1; --panel: #f5f6f7;
      --right: #0b5f9e; --wrong: #b34700; --inverse: #ffffff;
      --a0: #4a4f55; --a1: #c44d00; --a2: #0068b3; --a3: #00805e;
      --a4: #a8468a; --a5: #8a6400; --a6: #4a53c4; --a7: #a3262a;
    }
    @media screen and (prefers-color-scheme: dark) {
      :root {
        color-scheme: dark;
        --paper: #15171a; --ink: #e8eaed; --faint: #a3abb3; --rule: #343a40; --panel: #1e2125;
        --right: #63b8f0; --wrong: #ff9a57; --inverse: #0c0e10;
        --a0: #c9ced3; --a1: #ff8f45; --a2: #63b8f0; --a3: #35c79b;
        --a4: #ea9fd0; --a5: #e8c84a; --a6: #a5acff; --a7: #ff8a85;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
      font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
    }
    main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 48px; }
    header { max-width: 820px; }
    h1 { font-size: clamp(1.3rem, 1rem + 1.6vw, 1.9rem); line-height: 1.25; margin: 4px 0 12px; text-wrap: balance; }
    h2 { font-size: 1.15rem; margin: 40px 0 8px; }
    h3 { font-size: 1rem; margin: 0 0 4px; }
    p { margin: 0 0 10px; max-width: 75ch; }
    .kicker, .note, figcaption, caption, small, dt { color: var(--faint); font-size: .875rem; }
    .kicker { margin: 0; }
    .scroll { overflow-x: auto; }
    .wide { width: max-content; min-width: 100%; max-width: calc(100vw - 56px); margin-left: 50%; }
    .wide { transform: translateX(-50%) rotateX(180deg); padding-bottom: 4px; }
    .wide table { transform: rotateX(180deg); }
    .wide::-webkit-scrollbar { height: 12px; }
    .wide::-webkit-scrollbar-track { background: var(--panel); }
    .wide::-webkit-scrollbar-thumb { background: var(--faint); border-radius: 6px; }
    table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
    caption { text-align: left; padding-bottom: 6px; }
    th, td { padding: 7px 14px 7px 0; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top; }
    th { font-weight: 600; overflow-wrap: break-word; }
    thead th { vertical-align: bottom; }
    th:last-child, td:last-child { padding-right: 0; }
    td { white-space: nowrap; }
    th:first-child { text-align: left; min-width: 9em; }
    tbody th { font-weight: 500; line-height: 1.35; }
    th small { display: block; font-weight: 400; }
    @media (min-width: 760px) {
      tbody th small { display: inline; margin-left: .4em; }
      .metrics tbody th { padding-right: 2.5em; }
    }
    @media (max-width: 560px) {
      th, td { padding-right: 8px; font-size: .9375rem; }
      th:first-child { min-width: 5.6em; }
      .sd { display: block; font-size: .875rem; }
    }
    .metrics th .name { display: block; min-width: 4.5em; max-width: 14em; margin-left: auto; overflow-wrap: anywhere; }
    .by-arm th { max-width: 9.5em; }
    .by-arm th, .by-arm td { font-size: .9375rem; padding-right: 12px; }
    .by-arm th:first-child { position: sticky; left: 0; background: var(--paper); }
    .by-arm tbody th { max-width: none; min-width: 0; white-space: nowrap; }
    .by-arm th .name { display: inline-block; width: max-content; max-width: 24ch; margin-left: 7px; }
    .by-arm th .name { white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
    @media (max-width: 560px) { .by-arm th .name { max-width: 13ch; } }
    .sd { color: var(--faint); }
    .gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 20px 16px; }
    .picture { margin: 0; }
    .picture img { image-rendering: pixelated; border: 1px solid var(--rule); display: block; }
    .picture figcaption { color: var(--ink); font-weight: 600; }
    .picture ul { list-style: none; margin: 0; padding: 0; font-size: .8125rem; line-height: 1.4; }
    .maps th, .maps td { padding: 3px 4px 3px 0; border: 0; }
    .maps tbody th { min-width: 0; font-size: .875rem; vertical-align: middle; padding-right: 10px; }
    .maps thead th { font-size: .8125rem; font-weight: 500; text-align: left; }
    .look { width: 52px; height: 52px; background-size: 100% 100%; image-rendering: pixelated; overflow: hidden; }
    .look img { width: 52px; height: 52px; image-rendering: auto; display: block; }
    .hit::before { content: "✓ "; color: var(--right); }
    .miss::before { content: "✗ "; color: var(--wrong); }
    .swatch { width: 34px; height: 14px; vertical-align: -2px; }
    .legend { display: flex; flex-wrap: wrap; gap: 2px 20px; margin: 8px 0; padding: 0; list-style: none; }
    .legend { font-size: .875rem; }
    .legend .swatch { margin-right: 7px; }
    .grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 24px 32px; }
    .grid.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
    .grid.small.few { grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); }
    figure { margin: 0; max-width: 560px; break-inside: avoid; }
    figure h3 { margin-bottom: 6px; }
    figure > svg { display: block; width: 100%; height: auto; }
    figcaption { margin-top: 6px; }
    svg text { font-family: inherit; fill: var(--ink); }
    svg .label, svg .title { font-size: 12px; }
    svg .label { fill: var(--faint); font-variant-numeric: tabular-nums; }
    svg .strong { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3; stroke-linejoin: round; }
    svg .tight { font-size: 10px; }
    svg .leader { stroke: var(--faint); stroke-width: .6; }
    svg .faint { font-style: italic; }
    svg .rule { stroke: var(--rule); stroke-width: 1; }
    svg .axis { stroke: var(--faint); stroke-width: 1; }
    .curve { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
    .curve.dim { stroke-width: 1; stroke-opacity: .4; }
    .band { fill: currentColor; fill-opacity: .16; }
    .marker { fill: currentColor; stroke: var(--paper); stroke-width: 1; }
    .arm0 { color: var(--a0); } .arm1 { color: var(--a1); } .arm2 { color: var(--a2); } .arm3 { color: var(--a3); }
    .arm4 { color: var(--a4); } .arm5 { color: var(--a5); } .arm6 { color: var(--a6); } .arm7 { color: var(--a7); }
    .cells { fill: var(--panel); stroke: var(--rule); }
    .right { fill: var(--right); } .wrong { fill: var(--wrong); }
    svg .count { fill: var(--ink); font-variant-numeric: tabular-nums; }
    svg .inverse { fill: var(--inverse); }
    .gain { fill: var(--right); } .loss { fill: var(--wrong); }
    .contract { border-left: 3px solid currentColor; padding: 2px 0 2px 14px; margin: 0 0 16px; }
    .contract > * { color: var(--ink); }
    .contract ul { margin: 0; padding: 0; list-style: none; }
    code { font: .875rem/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
    ol.confusions { margin: 6px 0 0; padding-left: 1.6em; font-size: .875rem; }
    dl { display: grid; grid-template-columns: minmax(7em, max-content) 1fr; gap: 4px 20px; margin: 0; }
    dd { margin: 0; }
    dt { padding-top: .1em; }
    @media print {
      :root { font-size: 10pt; }
      main { max-width: none; padding: 0; }
      svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
      .grid { grid-template-columns: 1fr 1fr; }
      .scroll { overflow: visible; }
      .wide { width: auto; max-width: none; margin-left: 0; }
      .wide, .wide table { transform: none; }
      h2 { break-after: avoid; }
      section { break-inside: auto; }
    }
    """
