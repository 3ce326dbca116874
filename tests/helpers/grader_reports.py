"""More pairs of a gold answer and a boxed one, from a second reading of public bug reports, as in `grader_cases`."""

from __future__ import annotations

EQUAL = {
    "zero": [
        ("0", "2-2"), ("0", r"\sin(\pi)"), ("0", r"\cos\frac{\pi}{2}"), ("0", "(-1)^3+1"),
        ("0", r"\frac12-\frac12"), ("1-1", "0"), ("(0,0)", "(1-1,0)"), ("[0,1]", "[1-1,1]"),
        ("0,1", r"\cos\frac{\pi}{2},1"),
    ],
    "letters": [
        ("x+1", "X+1"), ("ab", "ba"), ("AB", "AB"), (r"\pi(R^2-r^2)", r"\pi R^2-\pi r^2"),
        (r"\frac{Mm}{M+m}", r"\frac{mM}{m+M}"), (r"\angle ABC", r"\angle CBA"), ("2ab", "2ba"),
        ("3x", "3x"), ("12", "12m"), ("5 m", "5"), (r"\Omega", r"\Omega"), ("IV", "iv"),
    ],
    "two-part quantity": [
        (r"5\text{ feet }6\text{ inches}", "5 feet 6 inches"),
        (r"2\text{ hours }30\text{ minutes}", r"2\text{ hours and }30\text{ minutes}"),
        (r"1\text{ hour }20\text{ minutes}", r"1~\text{hour}~20~\text{minutes}"),
    ],
    "magnitude": [
        ("3500000", r"3.5\text{ million}"), ("3.5 million", "3500000"),
        ("3.5 million", r"3.5\text{ million}"), ("12 thousand", "12,000"),
    ],
    "counted": [
        ("12", "12 marbles"), ("12", "12 people"), ("12 cookies", "12"), ("12", "12 more boxes"),
        ("2.5", "2.5 cups"), (r"\frac12", r"\frac{1}{2} pizza"), ("1200", "1,200 books"),
        ("12 marbles", r"12\text{ marbles}"),
    ],
    "membership": [
        (r"x\in(0,1)", "0<x<1"), (r"x\in[0,1]", r"0\le x\le 1"), (r"x\in(0,\infty)", "x>0"),
        (r"m\in[1,2)", r"1\le m<2"), ("(-1,2)", r"x>-1 \text{ and } x<2"), ("-1<x<2", "x>-1, x<2"),
        ("3<x<5", "5>x>3"), (r"\{x \mid x>2\}", "x>2"), ("[1,2]", r"\{x \mid 1\le x\le 2\}"),
    ],
    "degrees": [
        (r"\frac12", r"\sin 30^\circ"), ("1", r"\sin 90^\circ"), (r"\sqrt3", r"\tan 60^\circ"),
        ("30", r"30^\circ"), (r"\cos 36^\circ", r"\frac{1+\sqrt5}{4}"),
    ],
    "imaginary": [
        ("-1", "i^2"), ("2i", "(1+i)^2"), ("2", "(1+i)(1-i)"), ("5", "|3+4i|"), ("2i", r"\sqrt{-4}"),
        ("-1", r"e^{i\pi}"), (r"\frac1{1+i}", r"\frac{1-i}2"), (r"1+\mathrm{i}", "1+i"),
        (r"1-\frac1{\mathrm e}", r"1-\frac1e"), ("e^2", r"\mathrm{e}^2"),
    ],
    "date and time": [
        ("2024-01-05", "2024-01-05"), ("3:45 p.m.", "3:45 PM"), ("12:30 PM", "12:30pm"),
        (r"10:30 \text{ a.m.}", "10:30 AM"),
    ],
    "money": [
        ("75 cents", r"\$0.75"), ("10 dollars", r"\$10"), ("10", "10 cents"),
        ("10 cents", r"10\text{ cents}"),
    ],
    "unicode": [
        ("x^4", "x⁴"), ("10^{-5}", "10⁻⁵"), ("x^{12}", "x¹²"), ("6.022e23", "6.022×10²³"),
        ("101_2", "101₂"), (r"\log_2 3", "log₂3"), (r"\frac13", "⅓"), ("0.5", "1⁄2"), ("-5", "‐5"),
        ("-5", "‑5"), ("-5", "—5"), ("-5", "﹣5"), (r"x\in(0,1)", "x∈(0,1)"), ("1,2", "1、2"), ("5", "5。"),
        ("5", "5\u200b"), ("5", "\ufeff5"), (r"\sqrt[3]{2}", "∛2"),
    ],
    "style": [
        ("5", r"\boldsymbol{5}"), ("5", r"\bm{5}"), ("5", r"\underline{5}"), ("5", r"\textcolor{red}{5}"),
        ("5", r"\color{red}{5}"), ("5", r"{\bf 5}"), ("5", r"\emph{5}"), ("5", r"\texttt{5}"),
        ("5", r"\large{5}"), ("5", r"\textstyle 5"), ("5", r"5\hspace{1em}"), ("5", "5\\\\"),
        ("5", r"5 \ "), ("5", "~5~"), ("5", "=5"), ("5", "`5`"), ("5", "*5*"), ("12", r"12~\text{cm}"),
        ("12", r"\mathbf{12}\text{ cm}"), (r"\frac12", r"\mathbf{\dfrac12}"), ("2x", r"2\mathrm{x}"),
        (r"\frac34", r"\frac{\text{3}}4"), ("12", "12^{th}"), ("(1,2)", r"\bigl(1,2\bigr)"),
        (r"\{1,2\}", r"\lbrace 1,2\rbrace"), (r"\frac12", r"\bigl(\frac12\bigr)"),
        ("(1,2)", r"\Big(1,2\Big)"),
    ],
    "system": [
        ("x=1,y=2", r"\left\{\begin{array}{l}x=1\\y=2\end{array}\right."),
        ("x=1,y=2", r"\begin{cases}x=1\\y=2\end{cases}"), (r"\begin{cases}x=1\\y=2\end{cases}", "x=1, y=2"),
        (r"\begin{pmatrix}-1\\2\end{pmatrix}", r"\begin{pmatrix}-1\\[4pt]2\end{pmatrix}"),
    ],
    "decimals": [
        (r"\sqrt2", "2^{0.5}"), (r"\frac3{10}", "0.1+0.2"), ("2", "4^{0.5}"), (r"\frac13", "0.333..."),
        (r"\frac13", r"0.\bar3"), (r"\frac13", "0.(3)"), (r"\frac16", "0.1(6)"),
        (r"\frac13", r"0.\overline{3}"),
    ],
    "equations": [
        ("12", "x=12"), ("5", "2+3=5"), ("2", "x=2"), ("1,2", "2,1"),
    ],
    "nothing": [
        (r"\text{no solution}", r"\emptyset"), ("2", r"\lg 100"), (r"\ln 2", r"\log_e 2"),
    ],
    "functions and fractions": [
        (r"\frac{1}{x}", r"\frac1x"), (r"1-\frac{1}{n}", r"1-\frac1n"), (r"1-\cos^2 x", r"\sin^2 x"),
        (r"\log_2(x)", r"\log_2 x"), (r"n\log_2 n", r"n\log_2(n)"), ("15", r"\sum_{k=1}^{5} k"),
        ("2gh", "2hg"), ("6st", "6ts"), ("2ab", "2 ab"), (r"\frac12 bh", r"A=\frac12bh"), ("5t", "x=5t"),
        ("V=lwh", "V = whl"), ("252", r"{10\choose 5}"), ("dx", r"\mathrm{d}x"),
    ],
    "several degrees": [
        (r"60^\circ,120^\circ", r"120^\circ,60^\circ"), ("30,60,90", r"30^\circ,60^\circ,90^\circ"),
        ("20", r"20^\circ\text{C}"), (r"\frac{180^\circ}{7}", r"\frac{180}{7}"),
        ("180-2x", r"180^\circ-2x"), ("30+360k", r"30^\circ+360^\circ k"),
        ("A=30,B=60", r"A=30^\circ,B=60^\circ"),
    ],
    "equations for values": [
        ("1+2i", "z=1+2i"), (r"\pm 2i", r"x=\pm 2i"), ("1+i,1-i", r"x=1+i \text{ or } x=1-i"),
        ("30", r"\theta=30^\circ"), (r"\frac34", r"\sin\alpha=\frac34"), ("3", r"\alpha+\beta=3"),
        ("1,-1", r"\lambda=\pm1"), (r"n\ge 3", "3<=n"), ("3", "|z|=3"), ("z=1+2i", "z=1+2i"),
        ("3", "f(2)=3"), ("25", "AB^2=25"),
    ],
    "indices": [
        ("R_1+r", "r+R_1"), (r"\frac{E}{R_1+r}", r"\frac{E}{r+R_1}"), ("M_1m_1", "m_1M_1"),
        ("e^{E}", "e^E"), (r"T_n=\frac{t}{n}", r"\frac{t}{n}"), (r"\Gamma(n)", r"\Gamma(n)"),
    ],
    "measured": [
        (r"x=12\text{ cm}", "12cm"), ("m=5kg", "5"), (r"d=5\text{ m}", "5m"),
        (r"5\text{ m/s}", r"5\text{ meters per second}"),
        (r"25\text{ cm}^2", r"25\text{ square centimeters}"), ("2500000", "2.5 million people"),
        ("12", "12 months"), ("7:00 am", "7 a.m."), ("red and blue", "blue and red"),
        (r"\text{Ann},\text{Bob}", "Ann, Bob"),
    ],
    "both signs": [
        (r"\frac{3 \pm \sqrt5}{2}", r"\frac{3+\sqrt5}{2}, \frac{3-\sqrt5}{2}"),
        (r"\frac{3+\sqrt5}{2}, \frac{3-\sqrt5}{2}", r"\frac{3 \pm \sqrt5}{2}"), ("5,-5", "+/- 5"),
        (r"\frac{-1 \pm i\sqrt3}{2}", r"-\frac12 \pm \frac{\sqrt3}{2}i"), (r"(\pm 1, 2)", "(1,2), (-1,2)"),
        (r"\left\{\frac{3 \pm \sqrt5}{2}\right\}", r"\frac{3 \pm \sqrt5}{2}"), (r"5 \pm 2", "7, 3"),
    ],
    "combinations": [
        ("10C5", "252"), ("252", "{}_{10}C_5"), ("252", "^{10}C_5"), ("252", "C_{10}^5"), ("20", "{}_5P_2"),
        ("20", "A_5^2"), (r"\frac{C_4^2}{C_6^2}", r"\frac25"), (r"\binom{10}{5}", "10C5"),
        ("C_1e^x+C_2", "C_2+C_1 e^x"),
    ],
    "numbers in words": [
        ("12", "twelve"), ("21", r"\text{twenty-one}"), ("three", "3"), (r"\frac12", "one half"),
        (r"\frac34", "three quarters"), ("342", "three hundred and forty-two"), ("-5", "negative five"),
    ],
    "date and time in words": [
        ("January 5, 2024", "2024-01-05"), ("Jan 5, 2024", "5 January 2024"), ("July 4", "4th of July"),
        ("July 4", "July 4, 1776"), ("3:00 PM", "15:00"), ("3:00 PM", "3:00"), ("12:30 AM", "0:30"),
    ],
    "ratios": [
        ("3:4", "3 to 4"), ("3:4", r"3\text{ to }4"), ("2:3:5", "4:6:10"), (r"1:\sqrt2", r"1 : \sqrt2"),
    ],
    "units in other forms": [
        (r"12\text{ cm}", r"0.12\text{ m}"), ("90 minutes", "1.5 hours"), ("3 ft", "1 yard"), ("12", "12 units^2"),
        ("12", r"12\frac{\text{km}}{\text{h}}"), (r"9.8\text{ m/s}^2", r"9.8\,\mathrm{m\,s^{-2}}"),
        ("12", r"12 m s^{-1}"), ("12", r"12\,\Omega"), ("12", r"12\,\mu\text{m}"), ("12", "12 N·m"),
        ("12", "12 °C"), (r"10\ \Omega", "10 ohms"), ("12.5", r"12.5\text{ per cent}"),
    ],
    "vectors": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"), (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\langle 1,2\rangle"),
        ("(1,2)", r"\begin{bmatrix}1\\2\end{bmatrix}"), (r"\langle 1,2,3\rangle", "(1,2,3)"), ("(1,2)", "1, 2"),
        (r"2\mathbf{i}+3\mathbf{j}", r"2\hat{i}+3\hat{j}"), (r"\vec{a}", "a"),
    ],
    "sets of numbers": [
        ("]0,1[", "(0,1)"), ("[1,2)", "[1,2["), (r"(0,1)\cup(2,3)", "(0,1) U (2,3)"),
        (r"\mathbb{R}", r"\text{all real numbers}"), (r"\text{all real numbers}", r"(-\infty,\infty)"),
        (r"\mathbb{R}", r"x\in\mathbb{R}"),
    ],
    "several options": [
        ("A, C", "C, A"), ("A, C", "AC"), ("ABD", "A, B, D"), ("A, B", "(A) and (B)"),
    ],
    "options in other forms": [
        ("C", "[C]"), ("C", '"C"'), ("C", "<C>"), ("C", "C - a word"), ("C", r"\text{The answer is C}"),
    ],
    "words around": [
        ("7", r"\text{The answer is }7"), ("7", "Answer: 7"), ("7", r"\therefore 7"), ("42", r"\approx 42"),
        ("42", r"\text{about }42"), ("7", r"7\checkmark"), ("7", "7 ✅"), (r"\text{ellipse}", "an ellipse"),
        ("DNE", "does not exist"), (r"\text{no solution}", "no solutions"), ("12", r"12\text{ (approximately)}"),
    ],
    "other notations": [
        (r"x\equiv 3\pmod 7", "3"), ("3", "3=x"), ("1010_2", "1010 base 2"), ("FF_{16}", "FF"), ("12", "١٢"),
        ("1234567", "1.234.567"), (r"\frac{3\pi}{4}", "3/4 π"), (r"x\ne 2", r"x\not= 2"),
    ],
}  # fmt: skip

DIFFERENT = {
    "tiny in matrices": [
        (r"\begin{pmatrix}0.0000001&1\end{pmatrix}", r"\begin{pmatrix}0.0000002&1\end{pmatrix}"),
        ("0", "0.0000001"),
    ],
    "letters of both cases": [
        (r"\pi(R^2-r^2)", "0"), (r"\frac{R}{r}", "1"), ("R-r", "r-R"), ("R+r", "2r"), ("R=2r", "r=2R"),
        ("(R,r)", "(r,R)"), (r"\frac{Mm}{M+m}", r"\frac m2"), (r"\frac{GMm}{r^2}", r"\frac{GM^2}{r^2}"),
        ("x=A,y=a", "x=a,y=A"), (r"\Phi-\phi", "0"), (r"\Omega", r"\omega"), ("0", "T-t"),
    ],
    "letters in another order": [
        ("IV", "VI"), ("IX", "XI"), ("HT", "TH"), (r"\angle ABC", r"\angle ACB"),
        ("evil and good", "live and good"),
    ],
    "letters that are no units": [
        ("2ab", "2"), ("6ab", "6"), ("5st", "5"), ("3rs", "3"), ("4t", "4"), ("100t", "100"), ("4t", "4m"),
        ("2x", "2"), (r"\frac12 t", r"\frac12"), (r"\sqrt2 t", r"\sqrt2"), ("3", "3t"), ("3", "3x"),
    ],
    "two-part quantity": [
        (r"5\text{ feet }6\text{ inches}", "5"),
        (r"5\text{ feet }6\text{ inches}", r"5\text{ feet }8\text{ inches}"),
        (r"2\text{ hours }30\text{ minutes}", r"2\text{ hours }40\text{ minutes}"),
        (r"4\text{ pounds }3\text{ ounces}", "4"),
        (r"1\text{ hour and }20\text{ minutes}", r"1\text{ hour and }30\text{ minutes}"),
        ("5", "5 feet 6 inches"),
    ],
    "magnitude": [
        ("12", r"12\text{ million}"), ("12", r"12\text{ thousand}"), ("12", "12 billion"),
    ],
    "counted": [
        ("12", "13 marbles"), ("12", "12 dozen"), ("12", "12 hundred"), ("2", "2 thirds"),
        ("4", "4 squared"),
    ],
    "membership": [
        (r"x\in(0,1)", "0<x<2"), ("3<x<5", "5>x>4"), ("(-1,2)", r"x>-1 \text{ and } x<3"),
        ("[1,2]", r"\{x \mid 1<x\le 2\}"),
    ],
    "degrees": [
        (r"\sin 18^\circ", r"\sin 18"), (r"\frac12", r"\sin 30"),
    ],
    "imaginary": [
        ("1", "i^2"), ("2i", "(1-i)^2"), ("i", "-i"),
    ],
    "date and time": [
        ("2024-01-05", "2024-05-01"), ("2024-01-05", "2018"), ("2020-10-05", "2005"),
        ("3:45 PM", "3:45 AM"), (r"10:30 \text{ a.m.}", r"10:30 \text{ p.m.}"),
    ],
    "money": [
        ("10 dollars", "10 cents"), (r"\$10", "10 cents"), ("75 cents", r"\$75"),
    ],
    "units": [
        (r"60\text{ mph}", r"60\text{ km/h}"), (r"5\text{ m/s}", r"5\text{ km/s}"),
        (r"10^\circ\text{C}", r"10^\circ\text{F}"),
    ],
    "equations": [
        ("12", "13=12"), ("5", "2+2=5"), ("2", "x^2=2"), ("3", "2x=3"), ("3", "-x=3"), ("12", "12=13"),
    ],
    "measured": [
        ("6", "6 million people"), ("6", "6 lakh"), ("6", "6 thousandths"), ("6", "6 root two"),
        (r"\frac12", r"\frac{1}{2} abc"), ("3", r"3\text{ dozen}"), (r"10\text{ N}", r"10\text{ J}"),
        ("12 months", "13 months"), ("2", "2^{st}"),
    ],
    "equations for other things": [
        ("3", "x+1=3"), ("3", r"\frac{x}{2}=3"), ("3", r"\sqrt{x}=3"), ("3", "2^x=3"), ("z=1+2i", "z=1-2i"),
    ],
    "both signs": [
        (r"\frac{3 \pm \sqrt5}{2}", r"\frac{3+\sqrt5}{2}"), (r"\frac{3+\sqrt5}{2}", r"\frac{3 \pm \sqrt5}{2}"),
        (r"\frac{3 \pm \sqrt5}{2}", r"\frac{3 \pm \sqrt7}{2}"), (r"\pm 1 \pm 2", "3,-3"), ("5", r"5 \pm 2"),
    ],
    "combinations": [
        ("10C5", "10C6"), ("C_5^2", "A_5^2"), ("C_1e^x+C_2e^{-x}", "C_1e^x+C_2e^x"),
    ],
    "numbers in words": [
        ("12", "thirteen"), ("5", "five or six"), ("5", "negative five"), ("13", "one dozen"), ("2", "two and a half"),
        ("three", "four"),
    ],
    "date and time in words": [
        ("July 4, 1776", "July 4"), ("July 4", "June 4"), ("July 4", "4"), ("3:00 PM", "3:00 AM"),
        ("3:00 PM", "14:00"), ("9:05", "9:5"),
    ],
    "ratios": [
        ("3:4", "4 to 3"), ("2:3:5", "4:6:9"), ("2:3:5", "2:3"),
    ],
    "units in other forms": [
        ("90 minutes", "1.6 hours"), ("100 cm", "10 m"), (r"10\ \Omega", "10 V"), ("20 kN", "20 N"),
        (r"9.8\text{ m/s}^2", "9.8 m/s"), (r"5\mu m", r"5\mu s"), ("5", r"5\mu"), ("25 °C", "25 °F"),
    ],
    "vectors": [
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)"), ("(1,2)", "2, 1"), ("(1,2)", r"\langle 2,1\rangle"),
        ("(1,2)", "[1,2]"), ("(1,2)", "1"), ("(3,1,2)", "1,2,3"),
    ],
    "sets of numbers": [
        ("[1,2[", "[1,2]"), (r"\mathbb{Z}", r"\text{all real numbers}"), (r"\mathbb{R}", r"\text{all integers}"),
        (r"\text{all real numbers}", r"\text{all real numbers except }0"),
    ],
    "several options": [
        ("A, C", "A, B, C"), ("A, C", "A"), ("ABD", "A, B"), ("FACE", "CAFE"), ("C", "C - D"),
    ],
    "words around": [
        ("7", r"7\text{ is wrong}"), ("4", r"4\text{ (or maybe 5)}"), ("12", r"\text{at most }12"), ("12", r"\not= 12"),
        ("12", r"\text{The answer is }13"), (r"\text{ellipse}", "a hyperbola"), ("12", r"12\text{ or }13"),
    ],
    "other notations": [
        (r"x\equiv 3\pmod 7", r"x\equiv 3\pmod 8"), ("1010_2", "1010 base 3"), ("FF_{16}", "FE"), ("5", "6=x"),
        ("1.2.3", "123"), ("1234567", "1.234.568"),
    ],
}  # fmt: skip
