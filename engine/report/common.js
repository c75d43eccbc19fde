/* What the pages' scripts share: formats of numbers, charts that follow the colours, tables that
 * sort. */
const page = (function () {
    'use strict';

    const formats = {
        number: (value) => String(Number(value.toPrecision(4))),
        percent: (value) => (100 * value).toFixed(2) + '%',
        count: (value) => Math.round(value).toLocaleString('en'),
    };
    const ticks = {
        number: (value) => String(Number(value.toPrecision(6))),
        percent: (value) => Number((100 * value).toPrecision(4)) + '%',
        count: (value) => Number(value.toPrecision(6)).toLocaleString('en'),
    };

    function colour(name) {
        return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
    }

    function axis(format, more) {
        return {
            border: { display: false },
            grid: { color: colour('line'), drawBorder: false, tickLength: 0 },
            ticks: Object.assign({
                color: colour('soft'),
                padding: 8,
                maxRotation: 0,
                autoSkipPadding: 20,
                maxTicksLimit: 7,
                callback: format,
            }, more),
        };
    }

    function key(row, index) {
        const cell = row.cells[index];
        if (cell.dataset.value !== undefined)
            return Number(cell.dataset.value);
        return cell.textContent;
    }

    /* Numbers before texts, missing values last whatever the direction. */
    function compare(a, b, direction) {
        if (typeof a === 'number' && typeof b === 'number')
            return direction * (a - b);
        if (typeof a !== typeof b)
            return typeof a === 'number' ? -1 : 1;
        return direction * a.localeCompare(b, undefined, { numeric: true });
    }

    function sort(table, heading) {
        const up = heading.getAttribute('aria-sort') === 'descending' ||
            (heading.cellIndex === 0 && heading.getAttribute('aria-sort') === 'none');
        for (const other of table.tHead.rows[0].cells)
            other.setAttribute('aria-sort', 'none');
        heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
        const rows = Array.from(table.tBodies[0].rows, (row) => [key(row, heading.cellIndex), row]);
        rows.sort((a, b) => compare(a[0], b[0], up ? 1 : -1));
        table.tBodies[0].append(...rows.map((pair) => pair[1]));
    }

    function makeSortable(table) {
        for (const heading of table.tHead.rows[0].cells) {
            const button = document.createElement('button');
            button.type = 'button';
            button.append(...heading.childNodes);
            button.addEventListener('click', () => sort(table, heading));
            heading.setAttribute('aria-sort', 'none');
            heading.append(button);
        }
    }

    /* Draws now, and again whenever the colours change; `draw` gives the charts it made. */
    function keepDrawn(draw) {
        Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
        Chart.defaults.font.size = 11;
        let charts = draw();
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
            charts.forEach((chart) => chart.destroy());
            charts = draw();
        });
    }

    document.querySelectorAll('table.sortable').forEach(makeSortable);
    return { formats, ticks, colour, axis, keepDrawn };
}());
