"""Given and family names of many cultures, to make people of that nobody has written about. Data, no rules.

Common names, so that a pair looks like somebody's; pairs are drawn, and what stands in the user's data is never used. Left out: words of
everyday English (Rose, Hope, Park, Stone), which would be found where no name is meant, and family names in s, x or z.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN_NAMES = _words(
    """Abebe Adaeze Adwoa Agnieszka Ainhoa Aino Akira Alazne Alejandra Aleksander Alisher Almaz Amalie Anahit Anastasia Andrzej Anneli Anselm
    Antonella Anwar Aoife Arash Ariadna Armando Arvid Asgeir Asuka Ayodele Azamat Babajide Balint Baraka Bartosz Beatriz Bertil Birgitta
    Bogdan Bojana Borivoj Branka Brigida Bronagh Calliope Camila Catalin Cecilie Chiara Chidi Chukwuma Ciaran Clotilde Cosmin Cristobal
    Dagny Damir Danuta Darius Davit Deniz Desta Dilnoza Dimitra Dorota Dragana Ebba Eero Efua Eitan Ekaterina Eleni Eliska Emeka Emre
    Endre Enrique Erlend Esra Esteban Eszter Eudora Fabrizio Farrukh Fatou Femi Fernanda Fikret Filippa Florian Folke Franziska
    Gabor Galina Gaspard Gediminas Genoveva Gerda Giedre Gintaras Giorgos Gulnara Gunnhild Gustavo Haakon Habiba Halina Haruka Hedvig
    Heikki Henrike Hideo Hrvoje Ifeoma Ignacio Ildiko Imke Inga Ioana Isidora Ismael Itziar Ivana Jacinta Jadwiga Jaroslav Jelena Joaquin
    Jorunn Jovana Juhani Kaarina Kamila Karlis Katarzyna Kenji Kerttu Khadija Kirsi Kofi Kristof Kwabena Laila Lamine Larisa Leandro
    Leocadia Levan Liesbeth Linnea Ljubica Lorcan Lucjan Ludmila Maarten Maciej Magnhild Makena Malgorzata Mamadou Manuela Marcelina
    Margrethe Marijke Matteo Mehmet Merete Mihaela Milos Mireille Moira Nadezhda Naoki Natsuki Ndidi Nikhil Nino Nuray Oddvar Oksana
    Olamide Ondrej Oriol Ottoline Pavol Pelagia Petronella Piotr Pranav Radka Rafaela Ragnhild Raimundo Reidun Renske Rodrigo Roxana Ruslan
    Saoirse Sauli Sebastiano Serafina Shreya Sigrid Siobhan Slavica Solveig Soraya Sukhrob Svetlana Tadeusz Takumi Tamsin Tatiana Temesgen
    Teodora Thandiwe Tihana Tomasz Torbjorn Tuomas Ulrike Urszula Valdemar Vasiliki Veronika Vitomir Wanjiru Wiebke Xiomara Yannick Yevgenia
    Yordan Yusuf Zbigniew Zdenka Zofia Zsofia"""
)

FAMILY_NAMES = _words(
    """Abdulov Achterberg Adeyemi Agbaje Ahlgren Aldana Alenko Almeida Ambrosi Amundsen Andersson Antonescu Arrieta Asamoah Asante Atkinson
    Babayev Baldassari Balogun Banerjee Bangura Barkauskaite Belyaev Bergstrom Bertolini Bianchi Blaszczyk Boateng Bogdanov
    Boudreau Brankovic Brzezinski Bukowski Calderon Camara Carvalho Castellano Cernigoj Chatterjee Chernenko Chukwu Cieslak
    Colombo Danjuma Dabrowski Demirci Desjardin Deshpande Dimitrova Dlamini Dobrev Donoghue Dragomir Dvorak Edwardsen Eguchi Eklund
    Engelbrecht Erdogdu Eriksen Espinoza Fagerlund Farkova Fernando Figueroa Fitzgerald Fontaine Fredriksen Fujimoto Gallagher Galvani
    Gebremariam Georgiev Ghebre Giordano Gjerde Goncharov Grabowski Granqvist Grigoryan Gudmundsen Gunawardena Gyamfi Hagiwara Halvorsen
    Hanssen Haraldsen Hashimoto Hatzidaki Heikkinen Hendriksen Hoang Hollander Horvat Hovhannisyan Hrubesch Huttunen
    Ibekwe Ilunga Ingebrigtsen Ivanovic Jablonski Jankowski Jayawardena Jelinek Jovanovic Kagawa Kahananui Kallio Kaminski Kapoor
    Karimova Karlsen Kazlauskaite Keszthelyi Kiplagat Kobayashi Kolarov Kostova Kovalenko Kowalczyk Kristiansen Kruger Kurowska
    Lagerqvist Lehtonen Leszczynski Lindqvist Lombardi Lundqvist Machado Madsen Maeda Magnusson Makarenko Malinowska Mancini Marchenko
    Markovic Matsuda Mbeki Mensah Mikkelsen Milosevic Miyazawa Moravec Moretti Mukherjee Mwangi Nakagawa Navarro Ndiaye Nieminen Nilsson
    Novotny Nwosu Nyberg Obuya Ogunleye Okafor Okonkwo Olofsson Onyango Orlova Ortega Osei Ostrowski Otieno Owusu Paasonen Palmgren Pavlova
    Pellegrini Pereira Petrosyan Pettersen Piotrowski Popescu Quintana Radulescu Rantanen Rasmussen Reinholt Ribeiro Rinaldi Romero
    Rosenqvist Rybakov Saarinen Sadowski Salonen Sandvik Santoro Savchenko Schroder Sepulveda Shevchenko Shimizu Sidorova Sievert
    Skoglund Sokolowski Solberg Sorensen Stankovic Stefanov Sundqvist Szabo Szymanski Takahata Thorsen Tkachenko Toivonen
    Tomaszewski Torvald Tshabalala Uchida Urbanski Valdivia Valentini Vandermeer Varga Vasilenko Villanueva Virtanen Vukovic Wachowski
    Wanjala Watanabe Wisniewski Wojcik Yamashita Zalewska Zelenko Zielinski Zubkova"""
)
