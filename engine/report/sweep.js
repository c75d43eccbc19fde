/* Draws a sweep's chart from the numbers in #data. All that it shows stands in the page already;
 * what a point is called is read from its row in the table of combinations. */
(function () {
    'use strict';

    const { data, formats, ticks, colour, axis, line } = page;
    const points = data.points
        .map(([index, x, y, dx, dy, front]) => ({ index, x, y, dx, dy, front }));
    const table = document.querySelector('table.combinations');
    const headings = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
    const names = new Map(Array.from(table.tBodies[0].rows, (row) => [
        Number(row.cells[0].dataset.value) - 1,
        Array.from(row.querySelectorAll('.setting'), (cell) =>
            headings[cell.cellIndex] + ' ' + cell.textContent),
    ]));

    function segment(context, from, to) {
        context.beginPath();
        context.moveTo(...from);
        context.lineTo(...to);
        context.stroke();
    }

    /* 95 % intervals, cut off where the chart ends. */
    const intervals = {
        id: 'intervals',
        beforeDatasetsDraw(chart) {
            const { ctx, chartArea: area, scales: { x, y } } = chart;
            ctx.save();
            ctx.beginPath();
            ctx.rect(area.left, area.top, area.width, area.height);
            ctx.clip();
            ctx.lineWidth = 1;
            ctx.strokeStyle = colour('faint');
            for (const point of points) {
                const at = [x.getPixelForValue(point.x), y.getPixelForValue(point.y)];
                if (point.dy !== null)
                    segment(ctx, [at[0], y.getPixelForValue(point.y - point.dy)],
                        [at[0], y.getPixelForValue(point.y + point.dy)]);
                if (point.dx !== null)
                    segment(ctx, [x.getPixelForValue(point.x - point.dx), at[1]],
                        [x.getPixelForValue(point.x + point.dx), at[1]]);
            }
            ctx.restore();
        },
    };

    function draw(canvas) {
        const front = points.filter((point) => point.front).sort((a, b) => a.x - b.x);
        const others = points.filter((point) => !point.front);
        const dots = { pointRadius: 4, pointHoverRadius: 6 };
        return new Chart(canvas, {
            type: 'scatter',
            data: {
                datasets: [
                    line('efficient front', front, colour('first'),
                        Object.assign({ showLine: true }, dots)),
                    line('others', others, colour('second'), dots),
                ],
            },
            options: {
                scales: {
                    x: Object.assign(axis(ticks.number), { beginAtZero: true }),
                    y: axis(ticks.percent),
                },
                plugins: {
                    legend: {
                        align: 'end',
                        labels: { boxWidth: 8, boxHeight: 8, color: colour('soft') },
                    },
                    tooltip: {
                        animation: false,
                        callbacks: {
                            title: (items) => names.get(items[0].raw.index),
                            label: (item) => formats.percent(item.raw.y) + ', ' +
                                formats.number(item.raw.x) + ' ms a step',
                        },
                    },
                },
            },
            plugins: [intervals],
        });
    }

    page.keepDrawn(() => points.length ? [draw(document.querySelector('canvas'))] : []);
}());
