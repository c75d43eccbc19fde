/* Shows, of the worst mistakes, those of a class or of a cell of the confusion matrix. Without it
 * all of them are shown. */
(function () {
    'use strict';

    const gallery = document.querySelector('.gallery');
    if (!gallery)
        return;

    const FIRST = 24; // as many are shown while nothing is chosen
    const images = Array.from(gallery.querySelectorAll('li'));
    const matrix = document.querySelector('table.confusion');
    const names = Array.from(document.querySelectorAll('table.classes tbody th'),
        (heading) => heading.textContent);
    const note = document.createElement('p');
    const select = document.createElement('select');
    let chosen = null;

    function plural(count) {
        return count === 1 ? 'one of them is kept' : count + ' of them are kept';
    }

    function show(what, wanted, cell) {
        const kept = images.filter(wanted);
        images.forEach((image) => { image.hidden = !kept.includes(image); });
        note.textContent = what ? what + '; ' + (kept.length ? plural(kept.length) :
            'none of them is kept') + ' in the run file.' : '';
        if (chosen)
            chosen.removeAttribute('aria-selected');
        chosen = cell;
        if (cell)
            cell.setAttribute('aria-selected', 'true');
    }

    function showAll() {
        select.value = '';
        show('', (image) => images.indexOf(image) < FIRST, null);
    }

    function showClass(actual, cell) {
        select.value = String(actual);
        show(names[actual] + ' taken for something else',
            (image) => Number(image.dataset.actual) === actual, cell);
    }

    function showPair(actual, predicted, count, cell) {
        select.value = '';
        show(names[actual] + ' taken for ' + names[predicted] + ': ' + count,
            (image) => Number(image.dataset.actual) === actual &&
                Number(image.dataset.predicted) === predicted, cell);
    }

    function reveal() {
        gallery.scrollIntoView({ block: 'nearest' });
    }

    function addSelect() {
        const label = document.createElement('label');
        select.append(new Option('all classes', ''));
        for (const actual of new Set(images.map((image) => Number(image.dataset.actual)).sort(
            (a, b) => a - b)))
            select.append(new Option(names[actual], actual));
        select.addEventListener('change',
            () => select.value === '' ? showAll() : showClass(Number(select.value), null));
        label.append('True class ', select);
        note.className = 'note chosen';
        note.setAttribute('role', 'status');
        gallery.querySelector('ul').before(label, note);
    }

    /* A class for its row's heading, a pair for a cell; the diagonal has no mistakes. */
    function activate(cell) {
        const actual = cell.parentNode.rowIndex - 1, predicted = cell.cellIndex - 1;
        if (predicted < 0)
            showClass(actual, cell);
        else if (predicted !== actual)
            showPair(actual, predicted, cell.textContent, cell);
        else
            return;
        reveal();
    }

    /* One stop for the tabulator; arrows go from cell to cell. */
    function makeGrid() {
        const rows = Array.from(matrix.tBodies[0].rows);
        const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
        let here = rows[0].cells[0];
        matrix.setAttribute('role', 'grid');
        for (const row of rows)
            for (const cell of row.cells) {
                cell.setAttribute('role', cell.cellIndex ? 'gridcell' : 'rowheader');
                cell.tabIndex = -1;
            }
        here.tabIndex = 0;

        function go(cell) {
            here.tabIndex = -1;
            here = cell;
            here.tabIndex = 0;
        }

        matrix.tBodies[0].addEventListener('click', (event) => {
            const cell = event.target.closest('td, th');
            go(cell);
            activate(cell);
        });
        matrix.tBodies[0].addEventListener('keydown', (event) => {
            if (event.key === 'Enter' || event.key === ' ')
                activate(here);
            else if (steps[event.key]) {
                const [down, right] = steps[event.key];
                const row = rows[here.parentNode.rowIndex - 1 + down];
                const cell = row && row.cells[here.cellIndex + right];
                if (cell) {
                    go(cell);
                    cell.focus();
                }
            } else
                return;
            event.preventDefault();
        });
    }

    function makeButtons() {
        for (const row of document.querySelectorAll('table.mistakes tbody tr')) {
            const button = document.createElement('button'), cell = row.cells[2];
            const actual = Number(row.dataset.actual), predicted = Number(row.dataset.predicted);
            button.type = 'button';
            button.setAttribute('aria-label', names[actual] + ' taken for ' + names[predicted] +
                ': show ' + cell.textContent);
            button.append(...cell.childNodes);
            button.addEventListener('click', () => {
                showPair(actual, predicted, button.textContent, null);
                reveal();
            });
            cell.append(button);
        }
    }

    addSelect();
    if (matrix)
        makeGrid();
    makeButtons();
    showAll();
}());
